"use strict";

const part = (id) => document.getElementById(id);
const TOP = 5;
const MAX_IMAGES = 8; // in one request
const MAX_BYTES = 8 * 2 ** 20; // in one request, to stay below the limit of the server
let canExplain = false; // until /v1/models has been read

function percent(share) {
  const value = 100 * share;
  if (share < 1 && value > 99.9) return "> 99.9 %";
  if (share > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}

function showStatus(text, bad = false) {
  part("status").textContent = text;
  part("status").classList.toggle("bad", bad);
}

function quoted(name) {
  return `'${name.replaceAll("'", "'\\''")}'`;
}

function showCommand(name) {
  const file = quoted(`image=@"${(name || "photo.jpg").replace(/["\\]/g, "\\$&")}"`);
  part("curl").textContent = `curl -F ${file} ${new URL("v1/classify", document.baseURI)}`;
  part("call").hidden = false;
}

function showImage(image, content, text) {
  image.src = URL.createObjectURL(content);
  image.alt = image.title = text;
}

// The heat map is requested once; then the button switches between it and the image.
function offerHeatMap(item, file, name) {
  const button = item.querySelector(".explain");
  const image = item.querySelector("img");
  let heatMap = null;
  button.hidden = !canExplain;
  button.addEventListener("click", async () => {
    const shown = button.classList.contains("on");
    button.disabled = true;
    try {
      if (!shown) heatMap ??= await fetchHeatMap(file);
      const text =
        `Heat map of the evidence for ${name} in ${file.name}: brighter areas contribute more. ` +
        "Striped areas are not part of the model's input.";
      showImage(image, shown ? file : heatMap, shown ? "" : text);
      button.classList.toggle("on", !shown);
      button.textContent = shown ? `Show heat map for ${name}` : "Show image";
    } catch (error) {
      showStatus(message(error), true);
    }
    button.disabled = false;
  });
  button.textContent = `Show heat map for ${name}`;
}

function message(error) {
  return error instanceof TypeError ? "The server does not respond." : error.message;
}

async function fetchHeatMap(file) {
  const form = new FormData();
  form.append("image", file, file.name);
  const response = await fetch("v1/explain", { method: "POST", body: form });
  if (response.ok) return response.blob();
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error || `The server returned status ${response.status}`);
}

function emptyResult(file) {
  const item = part("result").content.cloneNode(true).firstElementChild;
  const image = item.querySelector("img");
  image.addEventListener("error", () => item.classList.add("no-preview"));
  image.addEventListener("load", () => {
    URL.revokeObjectURL(image.src);
    item.classList.remove("no-preview");
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

function fail(item, text) {
  item.classList.add("failed");
  item.querySelector(".answer").textContent = text;
}

function show(item, result, file) {
  if (!result.ok) {
    fail(item, result.error);
    return;
  }
  const words = document.createElement("small");
  const known = result.is_known !== false;
  words.textContent = known
    ? ` ${[result.certainty, percent(result.confidence)].filter(Boolean).join(", ")}`
    : ` nearest: ${result.class_name}`;
  item.classList.toggle("unknown", !known);
  item.querySelector(".answer").replaceChildren(known ? result.class_name : "Unknown", words);
  if (!known) {
    item.querySelector(".note").textContent =
      "Different from the training images: possibly none of the classes is right.";
  }
  item.querySelector(".bars").replaceChildren(...result.top.map(bar));
  offerHeatMap(item, file, result.class_name);
}

async function fetchResults(files) {
  const form = new FormData();
  for (const file of files) form.append("image", file, file.name);
  const response = await fetch(`v1/classify?top=${TOP}`, { method: "POST", body: form });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body.results;
  throw new Error(body.error || `The server returned status ${response.status}`);
}

function requestGroups(files) {
  const groups = [];
  let size = Infinity;
  for (const [index, file] of files.entries()) {
    size += file.size;
    if (size > MAX_BYTES || groups.at(-1).length === MAX_IMAGES) {
      groups.push([]);
      size = file.size;
    }
    groups.at(-1).push(index);
  }
  return groups;
}

function counted(number) {
  return number === 1 ? "1 image" : `${number} images`;
}

async function classify(files) {
  part("drop").classList.add("compact");
  const items = files.map(emptyResult);
  part("results").prepend(...items);
  let done = 0;
  showStatus(`Classifying ${counted(files.length)} …`);
  for (const group of requestGroups(files)) {
    try {
      const results = await fetchResults(group.map((index) => files[index]));
      results.forEach((result, place) => {
        show(items[group[place]], result, files[group[place]]);
      });
      done += results.filter((result) => result.ok).length;
    } catch (error) {
      for (const index of group) fail(items[index], message(error));
    }
  }
  const all = done === files.length;
  const total = counted(files.length);
  showStatus(all ? `${total} classified.` : `${done} of ${total} classified.`, !all);
  showCommand(files[0].name);
  showStatistics().catch(() => {}); // the answers are what matters
}

async function showStatistics() {
  const response = await fetch("v1/statistics");
  if (!response.ok) return;
  const { served, shadow, kept_share: kept } = await response.json();
  part("stored").textContent = kept
    ? `Images are sent to this server only; ${percent(kept)} of them are kept there.`
    : "Images are sent to this server only and are not stored.";
  const sentences = served.filter((one) => one.items).map((one) => one.summary);
  if (shadow) sentences.push(shadow.summary);
  const lines = sentences.map((sentence) => {
    const line = document.createElement("li");
    line.textContent = sentence;
    return line;
  });
  part("statistics").replaceChildren(...lines);
  part("served").hidden = !lines.length;
}

function isFolder(item) {
  return Boolean(item.webkitGetAsEntry && item.webkitGetAsEntry()?.isDirectory);
}

function droppedFiles(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file" && !isFolder(item));
  return items.map((item) => item.getAsFile());
}

async function showModel() {
  const [model] = (await (await fetch("v1/models")).json()).models;
  part("model").textContent = model.name;
  document.title = `${model.name} · tltool`;
  canExplain = model.explains;
  const classes = model.class_names.length;
  const names = model.class_names.slice(0, 6).join(", ") + (classes > 6 ? ", …" : "");
  const count = classes ? ` · ${classes} classes: ${names}` : "";
  part("about").textContent = `Version ${model.version}${count}`;
  if (!model.takes_images) {
    part("drop").hidden = true;
    showStatus("This model does not take image files; its API is at /v1/models.", true);
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
  const files = droppedFiles(event.dataTransfer);
  if (files.length) classify(files);
  else showStatus("Only files can be dropped here, no folders or links.", true);
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
    // without HTTPS only localhost may write to the clipboard
    getSelection().selectAllChildren(part("curl"));
    part("copy").textContent = "Selected";
  }
  setTimeout(() => { part("copy").textContent = "Copy"; }, 2000);
});
showStatistics().catch(() => {});
showModel().catch(() => showStatus("The server does not respond.", true));
showCommand("photo.jpg");
