"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  document.body.classList.remove("without-script");

  /* Theme: the system's, until the reader wants another one. */
  const themes = ["system", "dark", "light"];
  const theme = byId("theme");
  let themeNumber = 0;
  const nextTheme = () => {
    themeNumber = (themeNumber + 1) % themes.length;
    const name = themes[themeNumber];
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
  };
  theme.addEventListener("click", nextTheme);

  /* What is folded on the screen is open on paper. */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
  });

  /* The slider over the samples. */
  const { moments, states, tracks } = JSON.parse(byId("data").textContent);
  const slider = byId("moment");
  const duration = (s) => {
    if (s < 1) return `${(s * 1000).toFixed(0)} ms`;
    if (s < 60) return `${s.toFixed(1)} s`;
    const whole = Math.floor(s);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  };
  const fill = (row, name, text) => {
    row.querySelector(`.${name}`).textContent = text;
  };
  const showMoment = (number) => {
    const [at, , said] = moments[number];
    byId("moment-at").textContent = at;
    byId("moment-number").textContent = `sample ${number + 1} of ${moments.length}`;
    byId("moment-verdict").textContent = said;
    byId("ranks-at").textContent = at;
    for (const row of document.querySelectorAll("[data-track]")) {
      const [inStates, steps, idle] = tracks[row.dataset.track];
      const state = inStates[number];
      const [name, place, phase] = state === null ? ["–", "", "gone"] : states[state];
      fill(row, "function", name);
      fill(row, "place", place);
      fill(row, "phase", phase);
      fill(row, "step", steps[number] === null ? "–" : steps[number]);
      fill(row, "idle", idle[number] === null ? "–" : duration(idle[number]));
    }
    const x = `${100 * moments[number][1]}%`;
    for (const cursor of document.querySelectorAll(".cursor")) cursor.setAttribute("x", x);
  };
  if (slider) {
    slider.addEventListener("input", () => showMoment(Number(slider.value)));
    slider.value = moments.length - 1;
    showMoment(moments.length - 1);
  }

  /* The flame graph: boxes come level by level, each after the one it is below. */
  const flame = byId("flame");
  const boxes = flame
    ? [...flame.querySelectorAll(".f")].map((svg) => ({
        svg,
        rect: svg.querySelector("rect"),
        x: parseFloat(svg.getAttribute("x")),
        width: parseFloat(svg.getAttribute("width")),
        level: Math.round(svg.getAttribute("y") / 20),
        told: svg.querySelector("title").textContent,
      }))
    : [];
  const slack = 0.0005;
  const holds = (outer, inner) =>
    outer.x <= inner.x + slack && inner.x + inner.width <= outer.x + outer.width + slack;
  let wide = boxes[0];
  let at = boxes[0];
  const tell = (box) => {
    byId("flame-told").textContent = box.told;
  };
  const goTo = (box) => {
    if (!box) return;
    at.svg.classList.remove("at");
    at = box;
    at.svg.classList.add("at");
    tell(at);
  };
  const widen = (box) => {
    wide = box;
    for (const one of boxes) {
      const isAbove = one.level < box.level && holds(one, box);
      const isShown = isAbove || (one.level >= box.level && holds(box, one));
      one.svg.classList.toggle("hidden", !isShown);
      one.svg.classList.toggle("around", isAbove);
      if (!isShown) continue;
      const x = isAbove ? 0 : (100 * (one.x - box.x)) / box.width;
      const width = isAbove ? 100 : (100 * one.width) / box.width;
      one.svg.setAttribute("x", `${Math.max(0, x)}%`);
      one.svg.setAttribute("width", `${Math.min(100, width)}%`);
    }
    byId("flame-reset").disabled = box === boxes[0];
    goTo(box);
  };
  const shown = () => boxes.filter((one) => !one.svg.classList.contains("hidden"));
  const beside = (step) => {
    const same = shown().filter((one) => one.level === at.level).sort((a, b) => a.x - b.x);
    return same[same.indexOf(at) + step];
  };
  const moves = {
    ArrowUp: () => goTo(shown().find((one) => one.level === at.level - 1 && holds(one, at))),
    ArrowDown: () => goTo(shown().find((one) => one.level === at.level + 1 && holds(at, one))),
    ArrowLeft: () => goTo(beside(-1)),
    ArrowRight: () => goTo(beside(1)),
    Enter: () => widen(at),
    Escape: () => widen(boxes[0]),
  };
  const search = (text) => {
    const wanted = text.trim().toLowerCase();
    const found = boxes.filter((one) => {
      const isMatch = wanted !== "" && (one.svg.dataset.name || "").toLowerCase().includes(wanted);
      one.svg.classList.toggle("match", isMatch);
      return isMatch;
    });
    flame.classList.toggle("searched", wanted !== "");
    byId("flame-found").textContent = wanted === "" ? "" : `${found.length} found`;
  };
  if (flame) {
    const boxOf = (event) => boxes.find((one) => one.svg === event.target.closest(".f"));
    flame.addEventListener("click", (event) => {
      const box = boxOf(event);
      if (box) widen(box);
    });
    flame.addEventListener("mouseover", (event) => {
      const box = boxOf(event);
      if (box) tell(box);
    });
    flame.addEventListener("mouseleave", () => tell(at));
    flame.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      move();
    });
    byId("flame-reset").addEventListener("click", () => widen(boxes[0]));
    byId("flame-search").addEventListener("input", (event) => search(event.target.value));
    byId("flame-search").addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.target.value = "";
      search("");
    });
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=search]")) return;
    if (event.key === "t") nextTheme();
    if (event.key === "/" && flame) {
      event.preventDefault();
      byId("flame-search").focus();
    }
  });
})();
