// Rollouts: authors, log-probabilities and verdicts, word by word.

const VERDICTS = { correct: "✓", wrong: "✗", unparsable: "?", timeout: "⏱", error: "!" };
const ENDS = { eos: "ended by its author", budget: "cut off: budget spent", context: "cut off: context full" };
const SETS = { training: "training", held_out: "held out" };
const SNIPPET = 160; // characters of a rollout in the list

const text = (rollout) => (rollout.text ??= rollout.turns.map((turn) => turn.tokens.join("")).join(""));
const length = (rollout) => (rollout.length ??= rollout.turns.reduce((sum, turn) => sum + turn.tokens.length, 0));
const truncated = (rollout) => rollout.end !== "eos";
const seniorShare = (rollout) =>
  rollout.turns.reduce((sum, turn) => sum + (turn.author === "senior" ? turn.tokens.length : 0), 0) / Math.max(1, length(rollout));

function verdictChip(rollout) {
  return element("span", { class: `chip verdict ${rollout.verdict}` }, VERDICTS[rollout.verdict] ?? "?", " ", rollout.verdict);
}

/** Which part of the text is whose, as a strip. */
function strip(rollout) {
  const total = length(rollout);
  let at = 0;
  const stops = rollout.turns.map((turn) => {
    const from = at;
    at += turn.tokens.length;
    return `var(--${turn.author}) ${(100 * from) / total}% ${(100 * at) / total}%`;
  });
  const node = element("span", { class: "strip", "aria-hidden": "true" });
  if (stops.length) node.style.background = `linear-gradient(90deg, ${stops.join(",")})`;
  return node;
}

/** The filters' settings and what they let pass. */
class Filters {
  constructor() {
    this.run = this.set = this.step = this.verdict = "";
    this.truncated = false;
    this.low = this.high = null;
    this.words = "";
    this.order = "step";
  }

  passes(rollout) {
    return (
      (this.run === "" || rollout.run === Number(this.run)) &&
      (this.set === "" || rollout.set === this.set) &&
      (this.step === "" || rollout.step === Number(this.step)) &&
      (this.verdict === "" || (this.verdict === "not_correct" ? rollout.verdict !== "correct" : rollout.verdict === this.verdict)) &&
      (!this.truncated || truncated(rollout)) &&
      (this.low === null || rollout.reward >= this.low) &&
      (this.high === null || rollout.reward <= this.high) &&
      (this.words === "" || [rollout.problem, rollout.question, text(rollout)].some((part) => part.toLowerCase().includes(this.words)))
    );
  }

  ordered(rollouts) {
    const key = {
      step: null,
      newest: (rollout) => -rollout.step,
      reward: (rollout) => rollout.reward,
      advantage: (rollout) => rollout.advantage ?? 0,
      longest: (rollout) => -length(rollout),
      handoffs: (rollout) => -rollout.turns.length,
    }[this.order];
    return key ? rollouts.sort((a, b) => key(a) - key(b)) : rollouts;
  }
}

/** The list on the left and one or two transcripts on the right. */
class Viewer {
  constructor(section, { runs, rollouts }) {
    this.runs = runs;
    this.rollouts = rollouts;
    this.filters = new Filters();
    this.byProblem = grouped(rollouts);
    this.left = this.right = null;
    this.count = element("output", { class: "muted count" });
    this.list = new VirtualList((rollout) => this.row(rollout), (rollout) => this.open(rollout, null));
    this.panes = element("div", { class: "panes" });
    const side = element("div", { class: "side" }, this.controls(), this.count, this.list.node);
    section.append(element("div", { class: "viewer" }, side, this.panes));
    this.apply();
  }

  controls() {
    const { filters, rollouts } = this;
    const set = (name, convert = (value) => value) => (value) => {
      filters[name] = convert(value);
      this.apply();
    };
    const distinct = (key) => [...new Set(rollouts.map((rollout) => rollout[key]))];
    const steps = distinct("step").sort((a, b) => a - b);
    const verdicts = distinct("verdict").filter((verdict) => !["correct", "wrong"].includes(verdict));
    const bound = (name, label) => {
      const input = element("input", { type: "number", step: "any", placeholder: label, "aria-label": `Reward: ${label}` });
      input.addEventListener("input", () => set(name, (value) => (value === "" ? null : Number(value)))(input.value));
      return input;
    };
    const search = element("input", { type: "search", placeholder: "words, or a problem", "aria-label": "Search" });
    search.addEventListener("input", () => set("words", (value) => value.toLowerCase())(search.value));
    return element(
      "div",
      { class: "filters" },
      search,
      this.runs.length > 1 && choice("Run", [["", "all runs"], ...this.runs.map((run, index) => [index, run.name])], set("run")),
      distinct("set").length > 1 && choice("Set", [["", "all problems"], ...distinct("set").map((name) => [name, SETS[name] ?? name])], set("set")),
      choice("Step", [["", "all steps"], ...steps.map((step) => [step, `step ${step}`])], set("step")),
      choice(
        "Verdict",
        [["", "any verdict"], ["correct", "correct only"], ["not_correct", "not correct"], ["wrong", "wrong only"], ...verdicts.map((name) => [name, `${name} only`])],
        set("verdict"),
      ),
      choice(
        "Order",
        [["step", "in order"], ["newest", "last steps first"], ["reward", "least reward first"], ["advantage", "least advantage first"], ["longest", "longest first"], ["handoffs", "most handoffs first"]],
        set("order"),
      ),
      element("span", { class: "bounds" }, "reward ", bound("low", "from"), " – ", bound("high", "to")),
      checkbox("truncated only", set("truncated")),
    );
  }

  /** Shows what passes the filters; what is open stays open if it does. */
  apply() {
    const found = this.filters.ordered(this.rollouts.filter((rollout) => this.filters.passes(rollout)));
    this.count.textContent = `${found.length.toLocaleString("en")} of ${this.rollouts.length.toLocaleString("en")} rollouts`;
    this.list.show(found);
    if (found.includes(this.left)) this.list.select(this.left);
    else if (found.length) this.list.select(found[0]);
    else this.open(null, null);
  }

  row(rollout) {
    return element(
      "div",
      {},
      element(
        "div",
        { class: "top" },
        element("b", {}, `step ${rollout.step}`),
        element("span", { class: "muted" }, this.runs.length > 1 && `${this.runs[rollout.run].name} · `, rollout.problem),
        element("span", { class: `mark ${rollout.verdict}`, "aria-label": rollout.verdict }, VERDICTS[rollout.verdict] ?? "?"),
        element("span", { class: "figure" }, number(rollout.reward)),
      ),
      strip(rollout),
      element("div", { class: "snippet" }, text(rollout).slice(0, SNIPPET)),
    );
  }

  open(left, right) {
    this.left = left;
    this.right = right;
    if (!left) this.panes.replaceChildren(element("p", { class: "empty" }, "No rollout passes the filters."));
    else this.panes.replaceChildren(this.tools(), ...[left, right].filter(Boolean).map((rollout) => this.pane(rollout)));
    this.panes.classList.toggle("two", Boolean(right));
  }

  /** All of a problem's rollouts, the earliest step first. */
  others(rollout) {
    return [...this.byProblem.get(rollout.problem)].sort((a, b) => a.step - b.step || a.run - b.run);
  }

  tools() {
    const others = this.others(this.left);
    const elsewhere = others.some((rollout) => rollout.step !== this.left.step || rollout.run !== this.left.run);
    const [earliest, latest] = [others[0], others.at(-1)];
    const beforeAfter = element("button", { type: "button", disabled: !elsewhere, click: () => this.open(earliest, latest) }, "before / after");
    if (!elsewhere) beforeAfter.title = "This problem was written at one step only; held-out problems come again at every evaluation";
    const beside = choice(
      "Beside it",
      [["", others.length > 1 ? "beside it: nothing" : "nothing to set beside it"], ...others.map((rollout, index) => [index, this.label(rollout)])],
      (value) => this.open(this.left, value === "" ? null : others[Number(value)]),
      this.right ? String(others.indexOf(this.right)) : "",
    );
    beside.disabled = others.length < 2;
    const shade = checkbox("underline by surprise", (on) => this.panes.classList.toggle("surprise", on));
    shade.querySelector("input").checked = this.panes.classList.contains("surprise");
    return element(
      "div",
      { class: "tools" },
      element("span", { class: "legend" }, element("span", { class: "turn senior" }, "senior"), " ", element("span", { class: "turn junior" }, "junior")),
      beforeAfter,
      beside,
      shade,
    );
  }

  label(rollout) {
    const place = rollout.id.slice(rollout.id.lastIndexOf("/") + 1);
    return `${this.runs.length > 1 ? this.runs[rollout.run].name + ", " : ""}step ${rollout.step}, #${place} ${VERDICTS[rollout.verdict] ?? "?"}`;
  }

  pane(rollout) {
    const fact = (label, value) => element("div", {}, element("dt", {}, label), element("dd", {}, value));
    return element(
      "article",
      { class: "pane" },
      element(
        "h2",
        {},
        this.runs.length > 1 && `${this.runs[rollout.run].name}, `,
        `step ${rollout.step}`,
        element("span", { class: "muted" }, ` ${SETS[rollout.set] ?? rollout.set ?? ""} · ${rollout.problem}`),
      ),
      element(
        "dl",
        { class: "facts" },
        fact("verdict", verdictChip(rollout)),
        fact("reward", number(rollout.reward)),
        fact("advantage", signed(rollout.advantage)),
        fact("tokens", number(length(rollout))),
        fact("handoffs", number(Math.max(0, rollout.turns.length - 1))),
        fact("senior’s share", percent(seniorShare(rollout))),
        fact("end", element("span", { class: truncated(rollout) ? "cut" : "" }, ENDS[rollout.end] ?? rollout.end)),
        this.runs[rollout.run].juniors > 1 && fact("junior", `#${rollout.junior}`),
      ),
      this.group(rollout),
      element("h3", {}, "Question"),
      element("div", { class: "question" }, rollout.question),
      element("p", { class: "gold" }, element("span", { class: "muted" }, "expected answer "), rollout.gold, element("span", { class: "muted" }, " · judged "), rollout.extracted ?? "no answer found"),
      element("h3", {}, "Transcript"),
      transcript(rollout),
    );
  }

  /** The rollouts that this one's reward was compared with. */
  group(rollout) {
    const members = this.byProblem.get(rollout.problem).filter((other) => ["run", "step", "set"].every((key) => other[key] === rollout[key]));
    if (members.length < 2) return null;
    const chips = members.map((member, place) =>
      element(
        "button",
        { type: "button", class: `chip ${member.verdict}`, "aria-pressed": String(member === rollout), click: () => this.swap(rollout, member) },
        `${place + 1} ${VERDICTS[member.verdict] ?? "?"} `,
        element("span", { class: "muted" }, signed(member.advantage ?? member.reward)),
      ),
    );
    return element("div", { class: "group" }, element("span", { class: "muted" }, "its group "), chips);
  }

  swap(shown, other) {
    if (shown === this.right) this.open(this.left, other);
    else if (this.right || !this.list.items.includes(other)) this.open(other, this.right);
    else this.list.select(other);
  }
}

/** The rollouts of every problem. */
function grouped(rollouts) {
  const groups = new Map();
  for (const rollout of rollouts) {
    if (!groups.has(rollout.problem)) groups.set(rollout.problem, []);
    groups.get(rollout.problem).push(rollout);
  }
  return groups;
}

/** The words themselves. The authors' letters are the style sheet's, so that the element's text is the rollout's. */
function transcript(rollout) {
  const node = element("div", { class: "transcript" });
  const tokens = [];
  for (const turn of rollout.turns) {
    const span = element("span", { class: `turn ${turn.author}` });
    turn.tokens.forEach((token, i) => {
      const logprob = turn.logprobs?.[i] ?? null;
      const kind = token === "" ? "partial" : surprise(logprob);
      span.append(element("span", { class: `token ${kind}`, "data-i": tokens.length }, withReturns(token)));
      tokens.push({ token, author: turn.author, logprob, other: turn.other_logprobs?.[i] ?? null });
    });
    node.append(span);
  }
  node.addEventListener("pointermove", (event) => {
    const at = event.target.closest("[data-i]")?.dataset.i;
    if (at === undefined) tip.hide();
    else tip.show(event, ...tokenTip(tokens[Number(at)], Number(at), tokens.length));
  });
  node.addEventListener("pointerleave", () => tip.hide());
  return node;
}

/** A token's text, with something to see and to point at where a line ends. */
function withReturns(token) {
  return token.split("\n").flatMap((line, i) => (i ? [element("span", { class: "return" }), "\n", line] : [line]));
}

/** How thick a token's underline is: its author gave it less than 1/2, 1/10 or 1/100. */
function surprise(logprob) {
  if (logprob === null) return "";
  return ["", "s1", "s2", "s3"][[0.5, 0.1, 0.01].filter((p) => logprob < Math.log(p)).length];
}

function tokenTip({ token, author, logprob, other }, place, total) {
  const line = (name, value) =>
    element("tr", {}, element("th", {}, name), value === null ? element("td", { class: "muted", colspan: 2 }, "not recorded") : [element("td", {}, value.toFixed(3).replace("-", "−")), element("td", { class: "muted" }, percent(Math.exp(value)))]);
  const rows = author === "senior" ? [line("senior", logprob), line("junior", other)] : [line(other === null ? "senior" : "final senior", other), line("junior", logprob)];
  return [
    element("code", {}, token === "" ? "part of the next character" : JSON.stringify(token)),
    element("div", { class: "muted" }, `token ${place + 1} of ${total}, by the ${author}`),
    element("table", {}, element("tr", {}, element("th"), element("td", { class: "muted" }, "log p"), element("td", { class: "muted" }, "p")), rows),
  ];
}

function drawTranscripts(section, data) {
  if (data.rollouts.length) new Viewer(section, data);
  else section.append(element("p", { class: "empty" }, "No rollouts are kept: log.samples_per_step is 0, or the first step is not done."));
}
