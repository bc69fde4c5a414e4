"""The names of files in an archive, which are in UTF-8 or in the code page of their writer."""

from __future__ import annotations

import os
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # the extra field of Info-ZIP, APPNOTE 4.6.9


class DecodedNames(NamedTuple):
    """The names of the files of a zip.

    Attributes:
        names: for each file, with slashes between folders.
        encoding: that was guessed; None if the zip says the encoding or all names are ASCII.
        example: a name that was decoded with it.
    """

    names: list[str]
    encoding: str | None = None
    example: str = ""


def decode_names(members: Sequence[zipfile.ZipInfo]) -> DecodedNames:
    """Return the names of the files of a zip.

    A zip says that a name is in UTF-8 by a flag or an extra field (PKWARE's APPNOTE.TXT, 4.4.4 and
    4.6.9). Without them, Python decodes it as code page 437. Many programs write other bytes: UTF-8
    (macOS), or the code page of the language of Windows. All names of a zip have the same encoding;
    it is the first one in which all of them consist of plausible letters.

    Args:
        members: as Python read them.
    """
    names: dict[int, str] = {}
    raw: dict[int, bytes] = {}
    for index, member in enumerate(members):
        declared = _declared_name(member)
        if declared is None:
            raw[index] = member.orig_filename.encode("cp437")
        else:
            names[index] = declared
    encoding = _encoding_of([name for name in raw.values() if not name.isascii()]) or "cp437"
    for index, data in raw.items():
        names[index] = data.decode(encoding, errors="surrogateescape")
    guessed = [names[index] for index, data in raw.items() if not data.isascii()]
    ordered = [_with_slashes(names[index]) for index in range(len(members))]
    if encoding == "utf-8" or not guessed:
        return DecodedNames(ordered)
    return DecodedNames(ordered, encoding, _with_slashes(guessed[0]))


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/").partition("\0")[0]  # some Windows programs write backslashes


def _declared_name(member: zipfile.ZipInfo) -> str | None:
    """Return a name whose encoding the zip says; None without such."""
    if member.flag_bits & _UTF8_FLAG:
        return member.orig_filename
    extra = member.extra
    while len(extra) >= 4:
        kind, size = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and data[:1] == b"\1":
            written = zlib.crc32(member.orig_filename.encode("cp437"))
            if written == int.from_bytes(data[1:5], "little"):
                return data[5:].decode("utf-8", errors="surrogateescape")
    return None


def decode_folder_names(folder: Path) -> DecodedNames | None:
    """Rename the folders below ``folder`` whose names are not UTF-8, as a tar may contain.

    Returns:
        The new names, None if all were UTF-8 or no encoding is plausible; then they are not
        changed.
    """
    folders = [
        Path(place) / name
        for place, names, _ in os.walk(folder, topdown=False)
        for name in names
        if not name.isascii()  # all of them: the bytes of a short name may be UTF-8 by chance
    ]
    raw = [os.fsencode(path.name) for path in folders]
    encoding = _encoding_of(raw)
    if encoding is None or all(_is_utf8(path.name) for path in folders):
        return None
    names = [name.decode(encoding) for name in raw]
    for path, name in zip(folders, names, strict=True):
        if not path.with_name(name).exists():
            path.rename(path.with_name(name))
    return DecodedNames(names, encoding, names[0])


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python keeps other bytes as surrogates
        return False
    return True


def _encoding_of(names: Sequence[bytes]) -> str | None:
    """Return the first encoding in which all of ``names`` are plausible, None if there is none."""
    for encoding, is_plausible in _ENCODINGS:
        try:
            texts = [name.decode(encoding) for name in names]
        except UnicodeDecodeError:
            continue
        if is_plausible("/".join(texts)):
            return encoding
    return None


def _scripts(text: str) -> set[str]:
    """Return the scripts of the letters that are not ASCII; ``""`` stands for other characters."""
    return {
        unicodedata.name(char, "").partition(" ")[0] if char.isalpha() else ""
        for char in text
        if not char.isascii() and not unicodedata.combining(char)
    }


def _is_usual_text(text: str) -> bool:
    """Return whether a text has no symbols and no rare characters; short names may have by chance.

    The bytes of a Russian word in code page 866 can be valid UTF-8.
    """
    return all(
        char.isascii() or (unicodedata.category(char)[0] in "LMNPZ" and char < "\U00020000")
        for char in text
    )


def _foreign_words(text: str) -> list[str]:
    """Return the words that have letters outside of ASCII."""
    return [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]


def _has_usual_case(word: str) -> bool:
    """Return whether capitals are at the start of words, or everywhere."""
    if word.isupper() or word.islower():
        return True
    pieces = "".join(f" {char}" if char.isupper() else char for char in word).split()
    return all(len(piece) > 1 or piece.islower() for piece in pieces)


def _is_latin(text: str) -> bool:
    """Return whether a text has the letters of a Western language; each word has ASCII letters."""
    words = _foreign_words(text)
    return _scripts(text) <= {"LATIN"} and all(
        _has_usual_case(word) and (len(word) == 1 or any(map(str.isascii, word))) for word in words
    )


def _is_cyrillic(text: str) -> bool:
    words = _foreign_words(text)
    return _scripts(text) <= {"CYRILLIC"} and all(
        _has_usual_case(word) and not any(map(str.isascii, word)) for word in words
    )


def _is_japanese(text: str) -> bool:
    # half-width katakana are what other encodings look like
    wide = not any("\uff61" <= char <= "\uff9f" for char in text)
    return wide and _scripts(text) <= {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}


def _is_korean(text: str) -> bool:
    return _scripts(text) == {"HANGUL"}


def _is_common_korean(text: str) -> bool:
    """Return whether a text is in Korean, with many syllables that are frequent in Korean.

    The bytes of all syllables of KS X 1001 are also characters of GB 2312.
    """
    syllables = [char for char in text if not char.isascii()]
    frequent = sum(char in _FREQUENT_SYLLABLES for char in syllables)
    return _is_korean(text) and 3 * frequent >= len(syllables)


def _is_chinese(text: str) -> bool:
    return _scripts(text) <= {"CJK"}


def _is_common_chinese(text: str) -> bool:
    """Return whether most characters are common: GB 2312 has those at B0 to D7."""
    if not _is_chinese(text):
        return False
    rows = [char.encode("gb2312")[0] for char in text if not char.isascii()]
    return 2 * sum(row <= 0xD7 for row in rows) >= len(rows)


_FREQUENT_SYLLABLES = frozenset(
    "이다는에의을를가하고지기사대로어시리자아도라인은스한해정그나서들전일부수제조구원장보선상주유여성공무"
    "연비화계관동국경신학강산오생만위간물형세트음방진치개모실마적미분체재내우중면용소요문교할행된발민운금"
    "통남바김박최말단역반안설배양식히심각니드당청합려습던것게없있었했되으며까야네데더처점터과와때년월차호"
    "색천석현판파후크프테타레르래랑량력령론료루류률린림립새닭곰꽃집람토끼병차손눈발옷책불물길북밥감귤"
)
_ENCODINGS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("utf-8", _is_usual_text),
    *((page, _is_latin) for page in ("cp437", "cp850", "cp1252", "cp852", "cp1250")),
    ("euc_kr", _is_common_korean),
    ("gb2312", _is_common_chinese),
    ("cp866", _is_cyrillic),
    ("cp1251", _is_cyrillic),
    ("gb2312", _is_chinese),
    ("cp932", _is_japanese),
    ("big5", _is_chinese),
    ("gbk", _is_chinese),
    ("cp949", _is_korean),
    ("utf-8", lambda text: True),
)
