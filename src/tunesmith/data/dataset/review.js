"use strict";
// Decisions live in the browser under the hash of the file, until “Save decisions” hands them out as a file.
const facts = JSON.parse(document.getElementById("facts").textContent);
const rows = [...document.querySelectorAll("article")];
const key = "tunesmith-review-" + facts.sha256;
const original = new Map(rows.map((row) => [row, texts(row)]));

function texts(row) {
  const said = {};
  for (const part of row.querySelectorAll("[data-field]")) said[part.dataset.field] = part.textContent;
  return said;
}

function chosen(row) {
  const mark = row.querySelector("input[type=radio]:checked");
  return mark ? mark.value : "";
}

function decisionOf(row) {
  const found = { row: row.dataset.row, id: row.dataset.id, decision: chosen(row), note: row.querySelector(".note").value };
  if (found.decision === "fix") {
    const before = original.get(row);
    for (const [field, now] of Object.entries(texts(row))) if (now !== before[field]) found[field] = now;
  }
  return found;
}

function kept() {
  return rows.filter((row) => chosen(row)).map(decisionOf);
}

function remember() {
  try {
    localStorage.setItem(key, JSON.stringify(kept()));
  } catch (error) {
    document.getElementById("count").title = "This browser keeps nothing: save before you leave.";
  }
}

function show() {
  const done = kept().length;
  for (const row of rows) {
    const mark = chosen(row);
    row.className = mark;
    for (const part of row.querySelectorAll("[data-field]")) {
      if (mark === "fix") part.setAttribute("contenteditable", "plaintext-only");
      else part.removeAttribute("contenteditable");
    }
  }
  const bar = document.getElementById("done");
  bar.max = rows.length;
  bar.value = done;
  document.getElementById("count").textContent = done + " of " + rows.length;
  document.getElementById("save").disabled = done === 0;
}

function decide(row, kind) {
  row.querySelector(`input[value=${kind}]`).checked = true;
  show();
  remember();
}

function move(step) {
  const at = rows.indexOf(document.activeElement.closest("article"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + step))];
  next.focus();
  next.scrollIntoView({ block: "start" });
}

function restore() {
  let saved = [];
  try {
    saved = JSON.parse(localStorage.getItem(key) || "[]");
  } catch (error) {
    saved = [];
  }
  for (const decision of saved) {
    const row = rows.find((one) => one.dataset.row === decision.row);
    if (!row) continue;
    row.querySelector(`input[value=${decision.decision}]`).checked = true;
    row.querySelector(".note").value = decision.note || "";
    for (const part of row.querySelectorAll("[data-field]"))
      if (part.dataset.field in decision) part.textContent = decision[part.dataset.field];
  }
}

document.addEventListener("change", () => { show(); remember(); });
document.addEventListener("input", remember);
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches(".note, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const row = document.activeElement.closest("article");
  const kinds = { a: "accept", f: "fix", d: "drop" };
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (row && kinds[event.key]) {
    decide(row, kinds[event.key]);
    if (event.key === "f") {
      event.preventDefault();
      row.querySelector("[data-field=answer]").focus();
    } else move(1);
  }
});
document.getElementById("save").addEventListener("click", () => {
  const body = JSON.stringify({ ...facts, rows: kept() }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([body], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  URL.revokeObjectURL(link.href);
});
restore();
show();
