// What the server cannot do: fill in a demonstration account, put live complaints beside their fields, draw the chart.
// Loaded by every page. Must not: decide what is right or wrong; complaints come from the server.
(function () {
  "use strict";

  // One click on a demonstration account fills in the form.
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-fill-login]");
    if (!button) return;
    document.getElementById("login").value = button.dataset.fillLogin;
    document.getElementById("password").value = button.dataset.fillPassword;
    document.querySelector("form[action='/sign-in'] button[type=submit]").focus();
  });

  // A summary of problems takes the focus, so that it is read first.
  function focusSummary() {
    var summary = document.querySelector("[data-focus]");
    if (summary) summary.focus();
  }

  // Fields that were touched show their complaint; the others wait until they are.
  var touched = new Set();
  document.addEventListener("focusout", function (event) {
    if (event.target.name && event.target.closest("[data-checks]")) {
      touched.add(event.target.name);
      place();
    }
  });

  function place() {
    var list = document.getElementById("check");
    if (!list || !list.querySelector("section")) return;
    var complaints = new Map();
    list.querySelectorAll("[data-problem]").forEach(function (entry) {
      complaints.set(entry.dataset.problem, entry.querySelector("span").textContent);
    });
    document.querySelectorAll("[data-error-for]").forEach(function (place) {
      var name = place.dataset.errorFor;
      if (!touched.has(name) && !(place.textContent && !complaints.has(name))) return;
      var text = complaints.get(name) || "";
      place.textContent = text;
      document.getElementsByName(name).forEach(function (field) {
        field.classList.toggle("is-invalid", text !== "");
        if (text) field.setAttribute("aria-invalid", "true");
        else field.removeAttribute("aria-invalid");
      });
    });
  }

  // Charts: numbers from the server, text drawn on the canvas (a strict policy allows no style in markup).
  function draw(element) {
    if (!window.echarts || element.dataset.drawn) return;
    element.dataset.drawn = "yes";
    fetch(element.dataset.chart, { headers: { Accept: "application/json" } })
      .then(function (answer) { return answer.json(); })
      .then(function (data) {
        var chart = window.echarts.init(element, null, { renderer: "canvas" });
        chart.setOption(data.kind ? money(data) : {
          animation: false,
          color: ["#3b7dd8", "#d5dde8"],
          textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
          tooltip: { trigger: "axis", renderMode: "richText", axisPointer: { type: "shadow" } },
          legend: { top: 0 },
          grid: { left: 8, right: 16, top: 36, bottom: 8, containLabel: true },
          xAxis: { type: "value" },
          yAxis: { type: "category", data: data.names, inverse: true, axisTick: { show: false } },
          series: [
            { name: element.dataset.used, type: "bar", stack: "all", data: data.used },
            { name: element.dataset.left, type: "bar", stack: "all", data: data.left }
          ]
        });
        element.dataset.ready = "yes";
        window.addEventListener("resize", function () { chart.resize(); });
      });
  }

  // The map of the address space: one stop for the Tab key, the arrows go to the nearest cell that leads somewhere.
  function map(element) {
    var cells = Array.from(element.querySelectorAll("a[data-row]"));
    function at(cell) { return [Number(cell.dataset.row), Number(cell.dataset.column)]; }
    cells.forEach(function (cell, place) { cell.setAttribute("tabindex", place ? "-1" : "0"); });
    element.addEventListener("keydown", function (event) {
      var way = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      var from = event.target.closest("a[data-row]");
      if (!way || !from) return;
      event.preventDefault();
      var here = at(from), best = null, least = Infinity;
      cells.forEach(function (cell) {
        var there = at(cell), down = there[0] - here[0], right = there[1] - here[1];
        var along = down * way[0] + right * way[1], aside = Math.abs(down * way[1]) + Math.abs(right * way[0]);
        if (along > 0 && along + 3 * aside < least) { least = along + 3 * aside; best = cell; }
      });
      if (!best) return;
      from.setAttribute("tabindex", "-1");
      best.setAttribute("tabindex", "0");
      best.focus();
    });
  }

  // Charts of money: whole fen from the server, shown in yuan. "rows": a bar for each name; else over the months.
  function yuan(fen) {
    return (fen / 100).toLocaleString("zh-CN", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }

  function short(fen) {
    var whole = fen / 100;
    return Math.abs(whole) >= 10000 ? (whole / 10000).toLocaleString("zh-CN") + " 万" : whole.toLocaleString("zh-CN");
  }

  function money(data) {
    var names = { type: "category", data: data.names, axisTick: { show: false } };
    var amounts = { type: "value", axisLabel: { formatter: short } };
    var rows = data.kind === "rows";
    if (rows) {
      names.inverse = true;
      names.axisLabel = { width: 150, overflow: "truncate" };
    }
    return {
      animation: false,
      color: rows ? ["#3b7dd8", "#d5dde8", "#e0a458"] : ["#3b7dd8", "#7fb069", "#e0a458", "#8a6fb0", "#9aa5b5"],
      textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
      tooltip: { trigger: "axis", renderMode: "richText", axisPointer: { type: "shadow" }, valueFormatter: yuan },
      legend: { top: 0 },
      grid: { left: 8, right: 24, top: 36, bottom: 8, containLabel: true },
      xAxis: rows ? amounts : names,
      yAxis: rows ? names : amounts,
      series: data.series.map(function (one) {
        return {
          name: one.name, type: data.kind === "line" ? "line" : "bar", stack: one.stack || undefined,
          data: one.data, barMaxWidth: 28
        };
      })
    };
  }

  document.addEventListener("DOMContentLoaded", function () {
    focusSummary();
    document.querySelectorAll("[data-chart]").forEach(draw);
    document.querySelectorAll("[data-map]").forEach(map);
  });
  document.addEventListener("htmx:afterSettle", function (event) {
    if (event.target.id === "check") place();
  });
  if (document.readyState !== "loading") {
    focusSummary();
    document.querySelectorAll("[data-chart]").forEach(draw);
  }
})();
