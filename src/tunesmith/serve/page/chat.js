"use strict";
// A conversation with a model of this server, in the browser. Nothing is stored here; feedback goes to the server.

const get = (id) => document.getElementById(id);
const [log, text, model, send, stop] = ["log", "text", "model", "send", "stop"].map(get);
let turns = [];
let known = [];
let running = null;

const from = (id) => get(id).content.firstElementChild.cloneNode(true);

function addTurn(who, kind, content = "") {
  const turn = from("turn");
  turn.classList.add(kind);
  turn.querySelector("h2").textContent = who;
  turn.querySelector(".text").textContent = content;
  log.append(turn);
  turn.scrollIntoView({block: "nearest"});
  return turn;
}

async function fault(response) {
  const body = await response.json().catch(() => null);
  const said = body?.error?.message ?? response.statusText;
  const wait = response.headers.get("retry-after");
  return new Error(wait ? `${said} (try again in ${wait} s)` : said);
}

async function* events(response) {
  let rest = "";
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal,
  });
  if (!response.ok) throw await fault(response);
  return response;
}

async function answer() {
  const asked = turns;  // "New conversation" begins another list
  const turn = addTurn(model.value, "answer");
  const shown = turn.querySelector(".text");
  running = new AbortController();
  let id = "", said = "", reason = "";
  try {
    const response = await post("/v1/chat/completions", {model: model.value, messages: asked, stream: true}, running.signal);
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      id = event.id;
      const choice = event.choices[0];
      said += choice?.delta?.content ?? "";
      reason = choice?.finish_reason ?? reason;
      shown.textContent = said;
      turn.scrollIntoView({block: "nearest"});
    }
  } catch (error) {
    if (error.name === "AbortError") reason = "stopped";
    else if (asked === turns) addTurn("The server", "fault", error.message);
  } finally {
    running = null;
  }
  if (!said) {  // a question without an answer is no part of the conversation: many templates take turns strictly
    asked.pop();
    if (reason) shown.textContent = reason === "stopped" ? "(stopped)" : "(nothing)";
    else turn.remove();
    return;
  }
  asked.push({role: "assistant", content: said});
  if (reason === "stopped") return;
  if (reason === "length") turn.querySelector("h2").textContent += " · cut at the limit of tokens";
  if (reason) addOpinion(turn, id, said);
}

function addOpinion(turn, id, said) {
  const row = from("opinion");
  const status = row.querySelector("[role=status]");
  const keep = async (opinion) => {
    try {
      await post("/v1/feedback", {response_id: id, ...opinion});
      status.textContent = "kept";
      return true;
    } catch (error) {
      status.textContent = `not kept: ${error.message}`;
      return false;
    }
  };
  row.addEventListener("click", async ({target}) => {
    if (target.value === "better") {
      if (!turn.querySelector(".better")) turn.append(betterForm(said, keep));
      turn.querySelector(".better textarea").focus();
    } else if (target.value && await keep({thumb: target.value})) {
      for (const button of row.querySelectorAll("button")) button.setAttribute("aria-pressed", button === target);
    }
  });
  turn.append(row);
}

function betterForm(said, keep) {
  const form = from("better");
  form.querySelector("textarea").value = said;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await keep({correction: form.querySelector("textarea").value})) form.remove();
  });
  return form;
}

function about() {
  const one = known.find(({id}) => id === model.value);
  get("about").textContent = one ? [one.version && `version ${one.version}`, one.engine, one.label].filter(Boolean).join(" · ") : "";
}

async function begin() {
  try {
    const response = await fetch("/v1/models");
    if (!response.ok) throw await fault(response);
    known = (await response.json()).data;
    const names = [...new Set(known.map(({id}) => id))];
    model.replaceChildren(...names.map((name) => new Option(name, name)));
    about();
  } catch (error) {
    addTurn("The server", "fault", error.message);
  }
}

get("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const content = text.value.trim();
  if (!content || running) return;
  text.value = "";
  turns.push({role: "user", content});
  addTurn("You", "question", content);
  send.disabled = true;
  stop.disabled = false;
  await answer();
  send.disabled = false;
  stop.disabled = true;
  text.focus();
});
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  get("ask").requestSubmit();
});
stop.addEventListener("click", () => running?.abort());
get("new").addEventListener("click", () => {
  running?.abort();
  turns = [];
  log.replaceChildren();
  text.focus();
});
model.addEventListener("change", about);
begin();
