"use strict";
// Keys for those who have a keyboard; without this file the buttons do the same.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const button = document.querySelector(`button[name=choice][value="${CSS.escape(event.key.toLowerCase())}"]`);
  if (button) button.click();
});
