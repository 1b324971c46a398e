// The page on which a person and a model write one text. Texts enter the page through text nodes only.

const VERDICTS = { correct: "✓", wrong: "✗", unparsable: "?", timeout: "⏱", error: "!" };
const REASONS = { eos: "", budget: "The solution was cut off: its budget is spent.", context: "The solution was cut off: the context is full." };
const node = (id) => document.getElementById(id);
const [step, text, status] = ["step", "text", "status"].map(node);

let problem = -1;
let source = null; // the events of the text that is being written
let id = "";
let person = "junior";
let state = "idle"; // idle; model: the model writes; person: the person is asked; busy: a decision is on its way
let mayPass = false;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function enter(next, message) {
  state = next;
  if (message !== undefined) status.textContent = message;
  const asked = state === "person";
  node("hand-over").disabled = !asked || !step.value;
  node("go-on").disabled = !asked || !mayPass || Boolean(step.value);
  node("finish").disabled = !asked;
  node("pen").disabled = state !== "model";
}

/** Adds words to the last turn, or begins another. */
function add(author, words) {
  if (!words) return;
  let turn = text.lastElementChild;
  if (turn?.dataset.author !== author) {
    speak();
    turn = element("span", { class: `turn ${author}`, "data-author": author }, element("span", { class: "unseen" }, `${author}: `), element("span", { class: "words" }));
    text.append(turn);
  }
  turn.lastElementChild.append(words);
}

/** Has screen readers read what the model has added to the last turn. */
function speak() {
  const turn = text.lastElementChild;
  if (!turn || turn.dataset.author === person) return;
  const words = turn.lastElementChild.textContent.slice(turn.dataset.spoken ?? 0);
  turn.dataset.spoken = turn.lastElementChild.textContent.length;
  if (words) node("spoken").append(element("p", {}, `${turn.dataset.author}: ${words}`));
}

const events = {
  begin(event) {
    ({ id, person } = event);
    node("place").textContent = event.place;
    node("question").textContent = event.question;
    node("role").textContent = `You are the ${person}.`;
    enter("model", "The model writes.");
  },
  text(event) {
    if (event.author !== person && state !== "model") enter("model", "The model writes.");
    add(event.author, event.text);
  },
  asked(event) {
    speak();
    mayPass = event.may_pass;
    enter("person", mayPass ? "Your turn: write a step, or let the model go on." : "Your turn: write the first step.");
    if (document.activeElement === document.body || document.activeElement.disabled) step.focus();
  },
  end(event) {
    speak();
    stop("The solution is finished.");
    const judged = event.extracted === null ? "no answer was found" : `the solution says ${event.extracted}`;
    node("end").append(
      element("p", { class: `chip ${event.verdict}` }, `${VERDICTS[event.verdict] ?? "?"} ${event.verdict}`),
      element("p", {}, `The expected answer is ${event.gold}; ${judged}. ${REASONS[event.reason] ?? event.reason}`),
      event.unkept ? element("p", {}, `Not saved: ${event.unkept}`) : element("p", {}, "Saved: ", element("code", {}, `python launch/report.py ${event.folder}`), " shows it."),
    );
  },
  error(event) {
    stop(event.message);
  },
};

function stop(message) {
  source?.close();
  source = null;
  node("begin").textContent = "Another problem";
  enter("idle", message);
}

function begin() {
  source?.close();
  for (const part of [text, node("end"), node("spoken")]) part.replaceChildren();
  step.value = "";
  problem += 1;
  source = new EventSource(`/texts?problem=${problem}`);
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    events[event.event](event);
  };
  source.onerror = () => stop("The connection to the program is lost: begin again.");
  node("begin").textContent = "Another problem";
  enter("busy", "The model gets ready.");
  step.focus();
}

async function send(path, body) {
  const response = await fetch(`/texts/${id}/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  return response.ok ? "" : (await response.json()).error.message;
}

/** Sends what is written; nothing lets the model go on. */
async function decide(ends) {
  if (state !== "person" || !(step.value || ends || mayPass)) return;
  const words = step.value;
  step.value = "";
  enter("busy", ends ? "Finishing." : "The model reads.");
  const refused = await send("step", { text: words, ends });
  if (!refused) return;
  step.value = words;
  enter("person", refused);
}

function takePen() {
  if (state === "model") send("pen", {});
}

node("begin").addEventListener("click", begin);
node("go-on").addEventListener("click", () => decide(false));
node("pen").addEventListener("click", takePen);
node("finish").addEventListener("click", () => decide(true));
node("form").addEventListener("submit", (event) => {
  event.preventDefault();
  decide(false);
});
step.addEventListener("input", () => enter(state));
step.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  decide(event.ctrlKey || event.metaKey);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") takePen();
});
