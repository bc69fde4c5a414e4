"use strict";
{
  const data = JSON.parse(document.getElementById("photos").textContent);
  const gallery = document.getElementById("gallery");

  const element = (tag, attributes, ...children) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  };

  const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

  const figure = (photo) => {
    const picture = photo.source
      ? element("img", { src: photo.source, alt: photo.name })
      : element("span", { className: "blank", textContent: "no picture" });
    const words = element("figcaption", {}, element("b", { textContent: data.names[photo.predicted] }));
    words.append(` ${percent(photo.confidence)}`, element("br"), photo.name);
    return element("li", {}, element("figure", {}, picture, words));
  };

  const show = (trueClass, named, count) => {
    const found = data.photos.filter((photo) => photo.label === trueClass && photo.predicted === named);
    const what = trueClass === named
      ? `${count} of ${data.names[trueClass]}, named right`
      : `${count} of ${data.names[trueClass]}, named ${data.names[named]}`;
    const title = element("h3", { textContent: what, tabIndex: -1 });
    const list = element("ul", { className: "photos" }, ...found.map(figure));
    gallery.replaceChildren(title, list);
    if (found.length < count) {
      const place = gallery.dataset.moreIn ?? "not in this page";
      const rest = `${count - found.length} more are ${place}.`;
      gallery.append(element("p", { className: "more", textContent: rest }));
    }
    gallery.hidden = false;
    title.focus();
  };

  const cells = [...document.querySelectorAll("button[data-true]")];
  for (const cell of cells) {
    cell.addEventListener("click", () => {
      for (const other of cells) other.setAttribute("aria-pressed", String(other === cell));
      show(Number(cell.dataset.true), Number(cell.dataset.named), Number(cell.dataset.count));
    });
  }

  const value = (row, column) => {
    const cell = row.cells[column];
    const given = cell.dataset.value;
    return given === undefined ? cell.textContent.trim() : given === "" ? null : Number(given);
  };

  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" ? a - b : a.localeCompare(b);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const order = compare(value(a, column), value(b, column));
          const unknown = value(a, column) === null || value(b, column) === null;
          return down && !unknown ? -order : order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
}
