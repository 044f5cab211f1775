// The page of the embedded server: a history on the left, what the model makes of it on the right.
// It asks the same REST API as any other client.

const WORDS = [[-2, "dislike"], [-1, "skip"], [1, "keep"], [2, "like"]];
const SHOWN = 20;
const byId = (id) => document.getElementById(id);

const state = {
  model: null, // name
  inputs: {}, // of the signature `recommend`: name -> data type
  weights: {}, // ranking weights: name -> number
  names: new Map(), // item id -> name
  hasNames: false, // whether there is a table of names
  history: [], // {item, feedback}
  ranking: [], // {item, score}
  asked: 0, // counts requests, so that a late answer never replaces a newer one
};

async function fetched(path, body) {
  const answer = await fetch(path, body && { method: "POST", body: JSON.stringify(body) });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error ?? `HTTP ${answer.status}`);
  return content;
}

function say(text, isError = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("error", isError);
}

/** Runs something that asks the server, and says what went wrong if it did. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
}

// What the model takes

const hasStrings = () => state.inputs.item_ids === "DT_STRING";
const padding = () => (hasStrings() ? "" : -1);
const asId = (text) => (hasStrings() ? text : Number(text));
const nameOf = (item) => state.names.get(String(item)) ?? String(item);

async function openModel(name) {
  const found = await fetched(`v1/models/${encodeURIComponent(name)}/metadata`);
  const { inputs, defaults } = found.metadata.signature_def.signature_def.recommend;
  state.model = name;
  state.inputs = Object.fromEntries(Object.entries(inputs).map(([key, info]) => [key, info.dtype]));
  state.weights = Object.fromEntries(Object.keys(inputs).filter((key) => key.endsWith("_weight"))
    .map((key) => [key, Math.round(1000 * defaults[key].float_val[0]) / 1000]));
  showWeights();
  const beside = await fetched(`page/${encodeURIComponent(name)}`);
  state.hasNames = beside.has_names;
  state.names = new Map(beside.items.map(([item, label]) => [String(item), label ?? String(item)]));
  const offered = new Set(beside.items.map(([item, label]) => label ?? item));
  byId("items").replaceChildren(...[...offered].map((value) => {
    const option = element("option");
    option.value = value;
    return option;
  }));
  await learnNames(beside.listeners.flatMap((listener) => listener.item_ids));
  showListeners(beside.listeners);
  state.ranking = [];
  await rank();
}

/** Asks for the names of items that are not known yet. */
async function learnNames(items) {
  const unknown = [...new Set(items.map(String))].filter((item) => !state.names.has(item));
  if (!state.hasNames || !unknown.length) return;
  const query = new URLSearchParams(unknown.map((item) => ["item", item]));
  const found = await fetched(`page/${encodeURIComponent(state.model)}/names?${query}`);
  for (const item of unknown) state.names.set(item, found[item] ?? item);
}

function predict(signature, rows, more) {
  const inputs = { item_ids: rows.map((row) => row.map((event) => event.item)) };
  if ("feedback" in state.inputs) {
    inputs.feedback = rows.map((row) => row.map((event) => event.feedback));
  }
  for (const name of Object.keys(state.inputs)) {
    if (name in state.weights) inputs[name] = [state.weights[name]];
    else if (!(name in inputs) && !(name in NO_COLUMNS)) inputs[name] = [[0]];
  }
  const body = { signature_name: signature, inputs: { ...inputs, ...more } };
  return fetched(`v1/models/${encodeURIComponent(state.model)}:predict`, body);
}

const NO_COLUMNS = { item_ids: 1, k: 1, allowed_item_ids: 1, blocked_item_ids: 1 };
const nothing = () => [{ item: padding(), feedback: 0 }];

/** Asks for the ranking, and moves every row to its new place. */
async function rank() {
  const request = ++state.asked;
  const started = performance.now();
  const rows = [state.history.length ? state.history : nothing()];
  const none = [[padding()]];
  const more = { k: SHOWN, allowed_item_ids: none, blocked_item_ids: none };
  const { outputs } = await predict("recommend", rows, more);
  await learnNames(outputs.item_ids[0]);
  if (request !== state.asked) return;
  const before = new Map(state.ranking.map((row, place) => [row.item, { ...row, place }]));
  state.ranking = outputs.item_ids[0].map((item, i) => ({ item, score: outputs.scores[0][i] }));
  showRanking(before);
  say(`Ranked in ${Math.round(performance.now() - started)} ms.`);
}

/** Which events of the history an item owes its place to: each is left out in turn. */
async function explain(item) {
  const rows = [state.history, ...state.history.map((_, left) =>
    state.history.map((event, i) => (i === left ? { item: padding(), feedback: 0 } : event)))];
  const { outputs } = await predict("score", rows, { candidate_ids: rows.map(() => [item]) });
  const scores = (outputs.scores ?? outputs).map((row) => row[0]);
  const reasons = state.history.map((event, i) => ({ ...event, change: scores[0] - scores[i + 1] }));
  reasons.sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
  const largest = Math.max(...reasons.map((reason) => Math.abs(reason.change)), 1e-9);
  byId("why-title").textContent = `Why is ${nameOf(item)} here?`;
  byId("reasons").replaceChildren(...reasons.map((reason) => {
    const bar = element("span", reason.change < 0 ? "against" : "for");
    bar.style.width = `${(100 * Math.abs(reason.change)) / largest}%`;
    return element("li", "",
      element("span", "name", nameOf(reason.item)),
      element("span", "", wordOf(reason.feedback)),
      element("span", `score ${reason.change < 0 ? "down" : "up"}`, signed(reason.change, 3)),
      element("span", "bar", bar));
  }));
  byId("why").showModal();
}

// What is shown

function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const wordOf = (feedback) => WORDS.find(([value]) => value === feedback)?.[1] ?? `feedback ${feedback}`;

function showWeights() {
  byId("weights").replaceChildren(...Object.keys(state.weights).map((name) => {
    const slider = element("input");
    Object.assign(slider, { type: "range", min: 0, max: 4, step: 0.1, id: name });
    slider.value = state.weights[name];
    const value = element("output", "", String(state.weights[name]));
    slider.addEventListener("input", () => {
      state.weights[name] = Number(slider.value);
      value.textContent = slider.value;
      attempt(rank);
    });
    const title = element("span", "", `How much the ranking counts "${name.replace("_weight", "")}": `, value);
    return element("label", "", title, slider);
  }));
}

function showListeners(listeners) {
  byId("listener-field").hidden = listeners.length === 0;
  byId("listener").replaceChildren(...listeners.map((listener) => element("option", "", listener.name)));
  const choose = (listener) => {
    state.history = listener ? listener.item_ids.map((item, i) => ({ item, feedback: listener.feedback[i] })) : [];
    showHistory();
  };
  byId("listener").onchange = (event) => {
    choose(listeners[event.target.selectedIndex]);
    attempt(rank);
  };
  choose(listeners[0]);
}

function receivedButtons(current, receive, words = WORDS) {
  return element("span", "received", ...words.map(([feedback, word]) => {
    const button = element("button", "", word);
    button.type = "button";
    button.dataset.feedback = feedback;
    button.setAttribute("aria-pressed", String(feedback === current));
    button.addEventListener("click", () => receive(feedback));
    return button;
  }));
}

function showHistory() {
  byId("history").replaceChildren(...state.history.map((event, i) => {
    const received = receivedButtons(event.feedback, (feedback) => {
      event.feedback = feedback;
      for (const button of received.children) {
        button.setAttribute("aria-pressed", String(Number(button.dataset.feedback) === feedback));
      }
      attempt(rank);
    });
    const remove = element("button", "small", "×");
    remove.setAttribute("aria-label", `Remove ${nameOf(event.item)}`);
    remove.addEventListener("click", () => {
      state.history.splice(i, 1);
      showHistory();
      attempt(rank);
    });
    return element("li", "", element("span", "name", nameOf(event.item)), received, remove);
  }).reverse());
}

/** Does something that makes the rows of a list anew, and keeps the keyboard where it was. */
function keepingFocus(list, replace) {
  const old = [...list.children].find((row) => row.contains(document.activeElement));
  const place = [...list.children].indexOf(old);
  const button = old && [...old.querySelectorAll("button")].indexOf(document.activeElement);
  replace();
  if (!old) return;
  const rows = [...list.children];
  const row = rows.find((each) => each.dataset.item === old.dataset.item) ?? rows[place];
  row?.querySelectorAll("button")[button]?.focus({ preventScroll: true });
}

function showRanking(before) {
  const list = byId("ranking");
  const tops = new Map([...list.children].map((row) => [row.dataset.item, row.getBoundingClientRect().top]));
  keepingFocus(list, () => list.replaceChildren(...state.ranking.map(({ item, score }, place) => {
    const old = before.get(item);
    const moved = old === undefined ? 0 : old.place - place;
    let change = "";
    if (before.size) change = old === undefined ? "new" : moved ? (moved > 0 ? `▲ ${moved}` : `▼ ${-moved}`) : "";
    const gained = old === undefined || !before.size ? "" : ` (${signed(score - old.score, 2)})`;
    const why = element("button", "small", "Why?");
    why.setAttribute("aria-label", `Why is ${nameOf(item)} here?`);
    why.disabled = state.history.length === 0;
    why.addEventListener("click", () => attempt(() => explain(item)));
    const received = receivedButtons(null, (feedback) => {
      state.history.push({ item, feedback });
      showHistory();
      attempt(rank);
    }, WORDS.slice(1));
    const row = element("li", "",
      element("span", "place", String(place + 1)),
      element("span", "name", nameOf(item)),
      element("span", `change ${change.startsWith("▼") ? "down" : "up"}`, change),
      element("span", "score", score.toFixed(2) + gained),
      received, why);
    row.dataset.item = String(item);
    return row;
  })));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const row of still ? [] : list.children) {
    const top = row.getBoundingClientRect().top;
    const from = tops.get(row.dataset.item);
    const frames = from === undefined
      ? [{ opacity: 0 }, { opacity: 1 }]
      : [{ transform: `translateY(${from - top}px)` }, { transform: "none" }];
    if (tops.size) row.animate(frames, { duration: 450, easing: "ease-in-out" });
  }
}

// What a person does

byId("model").addEventListener("change", (event) => attempt(() => openModel(event.target.value)));
byId("clear").addEventListener("click", () => {
  state.history = [];
  showHistory();
  attempt(rank);
});
byId("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("item").value.trim();
  if (!text) return;
  const known = [...state.names].find(([, label]) => label === text);
  state.history.push({ item: asId(known ? known[0] : text), feedback: 1 });
  byId("item").value = "";
  showHistory();
  attempt(rank);
});

attempt(async () => {
  const { models } = await fetched("page");
  byId("model").replaceChildren(...models.map((name) => element("option", "", name)));
  if (models.length) await openModel(models[0]);
  else say("No model is served yet.");
});
