// Light or dark theme: follows the system until somebody chooses; all tabs share the choice.
"use strict";

(() => {
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

  function remembered() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage can be forbidden: use the system's theme
    }
  }

  function isDark() {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : systemIsDark.matches;
  }

  function labelButton() {
    const button = document.getElementById("theme-button");
    if (!button) return;
    const label = isDark() ? "Switch to the light theme" : "Switch to the dark theme";
    button.setAttribute("aria-label", label);
    button.title = label;
  }

  function show(theme) {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    labelButton();
  }

  function toggle() {
    const theme = isDark() ? "light" : "dark";
    show(theme);
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // storage is forbidden: the choice lasts until the page is closed
    }
  }

  show(remembered());
  systemIsDark.addEventListener("change", labelButton);
  addEventListener("storage", (event) => event.key === "theme" && show(event.newValue));
  addEventListener("DOMContentLoaded", () => {
    labelButton();
    document.getElementById("theme-button").addEventListener("click", toggle);
  });
})();
