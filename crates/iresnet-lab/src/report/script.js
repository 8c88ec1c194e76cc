// Both sliders show the same number of iterations.
"use strict";
(() => {
  // Only what scrolls is worth a stop of the keyboard.
  const stops = () => {
    for (const box of document.querySelectorAll(".wide")) box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
  };
  addEventListener("resize", stops);
  stops();

  const sliders = [...document.querySelectorAll(".slider")].map((box) => ({
    input: box.querySelector("input"),
    output: box.querySelector("output"),
    button: box.querySelector("button"),
  }));
  if (!sliders.length) return;
  // All sliders have the same counts.
  const counts = sliders[0].input.dataset.counts.split(" ").map(Number);
  const last = counts.length - 1;
  const moving = document.querySelectorAll(".moving");
  const errors = document.querySelectorAll("[data-errors]");
  const cursor = document.querySelector(".cursor");

  const show = (place) => {
    for (const { input, output } of sliders) {
      input.value = place;
      input.setAttribute("aria-valuetext", `${counts[place]} iterations a block`);
      output.textContent = counts[place];
    }
    for (const picture of moving) picture.style.backgroundPositionY = `${(100 * place) / last}%`;
    for (const cell of errors) cell.textContent = cell.dataset.errors.split(" ")[place];
    if (cursor) {
      const { left, right, longest } = cursor.dataset;
      const across = counts[place] / Number(longest);
      cursor.setAttribute("transform", `translate(${Number(left) + Math.min(1, across) * (right - left)} 0)`);
      // Beyond the end of the axis there is nothing to point at.
      cursor.setAttribute("visibility", across > 1 ? "hidden" : "visible");
    }
  };

  let timer = null;
  const label = (text) => sliders.forEach(({ button }) => (button.textContent = text));
  const stop = () => {
    clearInterval(timer);
    timer = null;
    label("Play");
  };
  const play = () => {
    let place = Number(sliders[0].input.value);
    if (place === last) show((place = 0));
    label("Pause");
    timer = setInterval(() => {
      show(++place);
      if (place >= last) stop();
    }, 500);
  };
  for (const { input, button } of sliders) {
    input.addEventListener("input", () => {
      stop();
      show(Number(input.value));
    });
    button.addEventListener("click", () => (timer ? stop() : play()));
  }
  show(last);
})();
