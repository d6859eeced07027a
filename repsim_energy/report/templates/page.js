"use strict";
// Switches models and seeds, shows components, and copies tables. Texts of results are only ever
// set as text, never as HTML.
(() => {
  const sections = JSON.parse(document.getElementById("data").textContent);
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const digits = (value) => (value === null ? "–" : value.toPrecision(4));

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  function announce(text) {
    const status = document.getElementById("status");
    status.textContent = text;
    setTimeout(() => { if (status.textContent === text) status.textContent = ""; }, 4000);
  }

  async function copy(text, done) {
    try {
      await navigator.clipboard.writeText(text);
      announce(done);
    } catch {
      const dialog = document.getElementById("copy-dialog");
      const area = dialog.querySelector("textarea");
      area.value = text;
      dialog.showModal();
      area.focus();
      area.select();
    }
  }

  // RFC 4180: texts with commas, quotes or line ends are quoted.
  function asCsv(columns, rows) {
    const cell = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
  }

  function copyTable(columns, rows) {
    copy(asCsv(columns, rows), `Copied ${rows.length} row${rows.length === 1 ? "" : "s"}.`);
  }

  function switched(article, kind) {
    const boxes = all(article, `[data-switch="${kind}"]`);
    const off = boxes.filter((box) => !box.checked).map((box) => Number(box.value));
    return (index) => !off.includes(index);
  }

  function energyRows(section, chart) {
    const rows = [];
    chart.energy.forEach((seeds, m) => seeds.forEach((profile, s) => {
      if (profile.every((value) => value === null)) return;
      profile.forEach((value, i) => rows.push(
        [chart.dataset, section.models[m], chart.given[m] ? "" : section.seeds[s],
          chart.components[i],
          chart.eigenvalue[i], value]));
    }));
    return rows;
  }

  // Energies of one component: of each shown model the mean, the range and the share of the largest.
  function energiesOf(section, chart, component, model, seed) {
    const rows = [];
    section.models.forEach((name, m) => {
      if (!model(m)) return;
      const profiles = chart.energy[m].filter((profile, s) =>
        (chart.given[m] || seed(s)) && profile[component] !== null);
      if (!profiles.length) return;
      const values = profiles.map((profile) => profile[component]);
      const shares = profiles.map((profile) => profile[component] / (Math.max(...profile) || 1));
      const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
      const range = `${digits(Math.min(...values))} to ${digits(Math.max(...values))}`;
      rows.push([m, `${m + 1} ${name}`, digits(mean(values)), values.length > 1 ? range : "–",
        mean(shares).toFixed(3)]);
    });
    return rows;
  }

  function setUpChart(article, section, part) {
    const chart = section.charts[Number(part.dataset.chart)];
    const buttons = all(part, "[data-component]");
    const panel = part.querySelector(".panel");
    const target = part.querySelector(".target");
    const cursor = part.querySelector(".cursor");
    let current = 0;

    function show(component) {
      current = component;
      buttons.forEach((button, i) => {
        button.tabIndex = i === component ? 0 : -1;
        button.setAttribute("aria-pressed", String(i === component));
      });
      cursor.setAttribute("x", component * Number(cursor.getAttribute("width")));
      const title = panel.querySelector("h4");
      if (title.textContent !== `Component ${chart.components[component]}`) {
        title.textContent = `Component ${chart.components[component]}`;
      }
      const picture = panel.querySelector("img");
      const source = buttons[component].querySelector("img");
      picture.hidden = source === null;
      if (source !== null) picture.src = source.src;
      picture.alt = `Component ${chart.components[component]} as an image`;
      const looks = [["eigenvalue", digits(chart.eigenvalue[component])],
        ...chart.looks.map(([name, values]) => [name, values[component]])];
      panel.querySelector("dl").replaceChildren(...looks.map(([name, value]) => {
        const pair = document.createElement("div");
        pair.append(element("dt", name), element("dd", value));
        return pair;
      }));
      fill();
    }

    function fill() {
      const rows = energiesOf(section, chart, current, switched(article, "model"),
        switched(article, "seed"));
      panel.querySelector("tbody").replaceChildren(...rows.map(([m, name, ...cells]) => {
        const row = document.createElement("tr");
        const head = element("th", ` ${name}`);
        head.scope = "row";
        const key = part.querySelector(`[data-key="${m}"] svg`);
        if (key !== null) head.prepend(key.cloneNode(true));
        row.append(head, ...cells.map((cell) => element("td", cell)));
        return row;
      }));
    }

    buttons.forEach((button, i) => {
      button.addEventListener("focus", () => show(i));
      button.addEventListener("pointerenter", () => show(i));
      button.addEventListener("click", () => show(i));
      button.addEventListener("keydown", (event) => {
        const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1,
          Home: 0, End: buttons.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        buttons[Math.min(Math.max(to, 0), buttons.length - 1)].focus();
      });
    });
    target.addEventListener("pointermove", (event) => {
      const box = target.getBoundingClientRect();
      const at = Math.floor((event.clientX - box.left) / box.width * buttons.length);
      if (at !== current) show(Math.min(Math.max(at, 0), buttons.length - 1));
    });
    part.querySelector("[data-copy-profiles]").addEventListener("click", () => copyTable(
      ["data set", "model", "seed", "component", "eigenvalue", "energy"],
      energyRows(section, chart)));
    panel.hidden = false;
    show(0);
    return fill;
  }

  function setUpSection(article) {
    const section = sections[Number(article.dataset.section)];
    const refills = all(article, "[data-chart]").map((part) => setUpChart(article, section, part));
    all(article, ".switches").forEach((switches) => {
      switches.hidden = false;
      switches.addEventListener("change", () => {
        const model = switched(article, "model");
        const seed = switched(article, "seed");
        all(article, "[data-row]").forEach((row) => { row.hidden = !model(Number(row.dataset.row)); });
        all(article, "[data-column]").forEach((cell) => {
          cell.hidden = !model(Number(cell.dataset.column));
        });
        all(article, "polyline").forEach((line) => {
          const shown = model(Number(line.dataset.model)) && seed(Number(line.dataset.seed));
          line.setAttribute("visibility", shown ? "visible" : "hidden");
        });
        refills.forEach((fill) => fill());
      });
    });
    all(article, "[data-copy-table]").forEach((button) => button.addEventListener("click", () => {
      const table = section.tables[button.dataset.copyTable];
      copyTable(table.columns, table.rows);
    }));
  }

  document.documentElement.classList.add("js");
  all(document, "article").forEach(setUpSection);
  all(document, "[data-copy-text]").forEach((button) => button.addEventListener("click", () => {
    copy(button.parentElement.querySelector("code").textContent, "Copied the command.");
  }));
  all(document, "[data-copy-table], [data-copy-profiles], [data-copy-text]").forEach((button) => {
    button.hidden = false;
  });
})();
