"use strict";

const part = (id) => document.getElementById(id);
const TOP = 5;
const AT_ONCE = 8; // photos in one request
let canExplain = false; // until the server has said so
const BYTES_AT_ONCE = 8 * 2 ** 20; // so that eight photos of a good camera are not too large

function percent(share) {
  const value = 100 * share;
  if (share < 1 && value > 99.9) return "> 99.9 %";
  if (share > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}

function tell(text, bad = false) {
  part("status").textContent = text;
  part("status").classList.toggle("bad", bad);
}

function quoted(name) {
  return `'${name.replaceAll("'", "'\\''")}'`;
}

function showCall(name) {
  const file = quoted(`photo=@"${(name || "photo.jpg").replace(/["\\]/g, "\\$&")}"`);
  part("curl").textContent = `curl -F ${file} ${location.origin}/v1/classify`;
  part("call").hidden = false;
}

function showImage(image, content, text) {
  image.src = URL.createObjectURL(content);
  image.alt = image.title = text;
}

// The picture is asked for once; then the button changes between it and the photo.
function offerWhy(item, file, name) {
  const button = item.querySelector(".why");
  const image = item.querySelector("img");
  let drawn = null;
  button.hidden = !canExplain;
  button.addEventListener("click", async () => {
    const shown = button.classList.contains("on");
    button.disabled = true;
    try {
      if (!shown) drawn ??= await askWhy(file);
      const text =
        `Where ${file.name} speaks for ${name}: the brighter, the more. ` +
        "The model does not see what is striped.";
      showImage(image, shown ? file : drawn, shown ? "" : text);
      button.classList.toggle("on", !shown);
      button.textContent = shown ? `Show what speaks for ${name}` : "Show the photo";
    } catch (error) {
      tell(error instanceof TypeError ? "The server does not answer." : error.message, true);
    }
    button.disabled = false;
  });
  button.textContent = `Show what speaks for ${name}`;
}

async function askWhy(file) {
  const form = new FormData();
  form.append("photo", file, file.name);
  const response = await fetch("/v1/explain", { method: "POST", body: form });
  if (response.ok) return response.blob();
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error || `The server answers ${response.status}`);
}

function emptyResult(file) {
  const item = part("result").content.cloneNode(true).firstElementChild;
  const image = item.querySelector("img");
  image.addEventListener("error", () => item.classList.add("blind"));
  image.addEventListener("load", () => {
    URL.revokeObjectURL(image.src);
    item.classList.remove("blind");
  });
  showImage(image, file, "");
  item.querySelector(".file").textContent = file.name;
  item.querySelector(".answer").textContent = "…";
  return item;
}

function bar(entry) {
  const row = part("bar").content.cloneNode(true).firstElementChild;
  const name = row.querySelector(".name");
  name.textContent = entry.class_name;
  name.title = entry.class_name;
  row.querySelector("progress").value = entry.probability;
  row.querySelector(".share").textContent = percent(entry.probability);
  return row;
}

function fail(item, problem) {
  item.classList.add("failed");
  item.querySelector(".answer").textContent = problem;
}

function show(item, result, file) {
  if (!result.ok) {
    fail(item, result.error);
    return;
  }
  const words = document.createElement("small");
  const known = result.is_known !== false;
  words.textContent = known
    ? ` ${result.certainty}, ${percent(result.confidence)}`
    : ` nearest: ${result.class_name}`;
  item.classList.toggle("unknown", !known);
  item.querySelector(".answer").replaceChildren(known ? result.class_name : "Unknown", words);
  if (!known) {
    item.querySelector(".note").textContent =
      "Unlike the photos that the model has learned from: none of its classes may be right.";
  }
  item.querySelector(".bars").replaceChildren(...result.top.map(bar));
  offerWhy(item, file, result.class_name);
}

async function ask(files) {
  const form = new FormData();
  for (const file of files) form.append("photo", file, file.name);
  const response = await fetch(`/v1/classify?top=${TOP}`, { method: "POST", body: form });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `The server answers ${response.status}`);
  return answer.results;
}

function groups(files) {
  const found = [];
  let size = Infinity;
  for (const [index, file] of files.entries()) {
    size += file.size;
    if (size > BYTES_AT_ONCE || found.at(-1).length === AT_ONCE) {
      found.push([]);
      size = file.size;
    }
    found.at(-1).push(index);
  }
  return found;
}

function counted(number) {
  return number === 1 ? "1 photo" : `${number} photos`;
}

async function classify(files) {
  part("drop").classList.add("narrowed");
  const items = files.map(emptyResult);
  part("results").prepend(...items);
  let done = 0;
  tell(`Looking at ${counted(files.length)} …`);
  for (const group of groups(files)) {
    try {
      const results = await ask(group.map((index) => files[index]));
      results.forEach((result, place) => {
        show(items[group[place]], result, files[group[place]]);
      });
      done += results.filter((result) => result.ok).length;
    } catch (error) {
      const problem = error instanceof TypeError ? "The server does not answer." : error.message;
      for (const index of group) fail(items[index], problem);
    }
  }
  const all = done === files.length;
  tell(all ? `${counted(done)} answered.` : `${done} of ${counted(files.length)} answered.`, !all);
  showCall(files[0].name);
}

function isFolder(item) {
  return Boolean(item.webkitGetAsEntry && item.webkitGetAsEntry()?.isDirectory);
}

function dropped(transfer) {
  const found = [...transfer.items].filter((item) => item.kind === "file" && !isFolder(item));
  return found.map((item) => item.getAsFile());
}

async function introduce() {
  const [model] = (await (await fetch("/v1/models")).json()).models;
  part("model").textContent = model.name;
  document.title = `${model.name} · tltool`;
  canExplain = model.explains;
  const classes = model.class_names.length;
  const names = model.class_names.slice(0, 6).join(", ") + (classes > 6 ? ", …" : "");
  const count = classes ? ` · ${classes} classes: ${names}` : "";
  part("about").textContent = `Version ${model.version}${count}`;
  if (!model.takes_photos) {
    part("drop").hidden = true;
    tell("This model does not take image files; its API is at /v1/models.", true);
  }
}

part("files").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  if (files.length) classify(files);
});
window.addEventListener("dragover", (event) => {
  event.preventDefault();
  part("drop").classList.add("over");
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) part("drop").classList.remove("over");
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  part("drop").classList.remove("over");
  const files = dropped(event.dataTransfer);
  if (files.length) classify(files);
  else tell("Only files can be dropped here; folders and links are not read.", true);
});
window.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) classify(files);
});
part("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(part("curl").textContent);
    part("copy").textContent = "Copied";
  } catch {
    // without https only localhost may write to the clipboard
    getSelection().selectAllChildren(part("curl"));
    part("copy").textContent = "Selected";
  }
  setTimeout(() => { part("copy").textContent = "Copy"; }, 2000);
});
introduce().catch(() => tell("The server does not answer.", true));
showCall("photo.jpg");
