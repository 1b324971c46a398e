// A list of any length that draws only the visible rows.

const ROW = 58; // pixels, as in page.css
const MARGIN = 6; // rows drawn beyond the visible ones

/** A scrolling list: `fill(index)` makes a row's element, `onSelect(index)` is told of clicks and arrow keys. */
class VirtualList {
  constructor(fill, onSelect) {
    this.fill = fill;
    this.onSelect = onSelect;
    this.items = [];
    this.selected = -1;
    this.inner = element("div", { class: "rows" });
    this.node = element("div", { class: "list", tabindex: 0, role: "listbox", "aria-label": "Rollouts", scroll: () => this.draw() }, this.inner);
    this.node.addEventListener("keydown", (event) => {
      const way = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (!way || !this.items.length) return;
      event.preventDefault();
      const next = this.items.indexOf(this.selected) + way;
      this.select(this.items[Math.min(Math.max(next, 0), this.items.length - 1)]);
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  show(items) {
    this.items = items;
    this.inner.style.height = `${items.length * ROW}px`;
    this.node.scrollTop = 0;
    this.draw();
  }

  /** Selects an item and scrolls to it. */
  select(item) {
    this.selected = item;
    const top = this.items.indexOf(item) * ROW;
    const { scrollTop, clientHeight } = this.node;
    if (top < scrollTop) this.node.scrollTop = top;
    if (top + ROW > scrollTop + clientHeight) this.node.scrollTop = top + ROW - clientHeight;
    this.draw();
    this.onSelect(item);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / ROW) - MARGIN);
    const last = Math.min(this.items.length, Math.ceil((this.node.scrollTop + this.node.clientHeight) / ROW) + MARGIN);
    const rows = [];
    for (let place = first; place < last; place++) {
      const item = this.items[place];
      const row = this.fill(item);
      row.classList.add("row");
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(item === this.selected));
      row.style.top = `${place * ROW}px`;
      row.addEventListener("click", () => this.select(item));
      rows.push(row);
    }
    this.inner.replaceChildren(...rows);
  }
}
