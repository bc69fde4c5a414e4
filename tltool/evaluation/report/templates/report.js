"use strict";
{
  const data = JSON.parse(document.getElementById("images").textContent);
  const gallery = document.getElementById("gallery");

  const element = (tag, attributes, ...children) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  };

  const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

  const figure = (image) => {
    const picture = image.source
      ? element("img", { src: image.source, alt: image.name })
      : element("span", { className: "blank", textContent: "no image" });
    const caption = element("figcaption", {}, element("b", { textContent: data.names[image.predicted] }));
    caption.append(` ${percent(image.confidence)}`, element("br"), image.name);
    return element("li", {}, element("figure", {}, picture, caption));
  };

  const show = (trueClass, predicted, count) => {
    const images = data.images.filter((each) => each.label === trueClass && each.predicted === predicted);
    const what = trueClass === predicted
      ? `${count} of ${data.names[trueClass]}, correct`
      : `${count} of ${data.names[trueClass]}, predicted as ${data.names[predicted]}`;
    const title = element("h3", { textContent: what, tabIndex: -1 });
    const list = element("ul", { className: "images" }, ...images.map(figure));
    gallery.replaceChildren(title, list);
    if (images.length < count) {
      const where = gallery.dataset.moreIn ?? "not in this page";
      const rest = `${count - images.length} more are ${where}.`;
      gallery.append(element("p", { className: "more", textContent: rest }));
    }
    gallery.hidden = false;
    title.focus();
  };

  const cells = [...document.querySelectorAll("button[data-true]")];
  for (const cell of cells) {
    cell.addEventListener("click", () => {
      for (const other of cells) other.setAttribute("aria-pressed", String(other === cell));
      show(Number(cell.dataset.true), Number(cell.dataset.predicted), Number(cell.dataset.count));
    });
  }

  const value = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.value;
    return number === undefined ? cell.textContent.trim() : number === "" ? null : Number(number);
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
