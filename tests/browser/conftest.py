"""Fixtures: a real browser, with tabs in which people use a sandbox's page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import (
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

from bot.sandbox.runner import Sandbox, opened
from bot.settings import Timing

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--process-per-site",  # starting a process per tab takes longer than most tests
)
QUICK = Timing(
    sweep_every_s=0.1,
    execution_s=2.0,
    fusebill_write_s=2.0,
    looks_for_s=0.5,
    working_after_s=0.3,
    look_s=0.05,
)
TIMEOUT_MS = 10_000
Theme = Literal["light", "dark"]
expect.set_options(timeout=TIMEOUT_MS)


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab of the browser, in which somebody uses the sandbox's page."""

    page: Page
    sandbox: Sandbox

    @property
    def card(self) -> Locator:
        """The newest message in the channel."""
        return self.page.locator("#messages").get_by_test_id("message").last

    @property
    def ephemeral(self) -> Locator:
        """The newest message that only this person sees."""
        return self.page.locator("#messages").get_by_test_id("ephemeral").last

    @property
    def thread(self) -> Locator:
        """The pane of the open thread."""
        return self.page.get_by_test_id("thread")

    def customer(self, customer_id: int) -> Locator:
        """A customer in the sidebar."""
        return self.page.locator(f"[data-customer-id='{customer_id}']")

    def button(self, name: str) -> Locator:
        """A button of the newest message."""
        return self.card.get_by_role("button", name=name)

    async def say(self, line: str) -> None:
        """Type a line into the message box and send it."""
        await self.page.locator("#composer-text").fill(line)
        await self.page.keyboard.press("Enter")

    async def ask(self, line: str = "/unlatch 2554529 moved") -> None:
        """Type a command and wait until its card is posted and the bot is idle."""
        cards = self.page.locator("#messages").get_by_test_id("message")
        before = await cards.count()
        await self.say(line)
        await expect(cards).to_have_count(before + 1)
        await self.idle()

    async def press(self, name: str) -> None:
        """Click a button of the newest message."""
        await self.button(name).click()

    async def resize(self, width: int, height: int, theme: Theme) -> None:
        """Show the page in another size and theme."""
        await self.page.set_viewport_size({"width": width, "height": height})
        await self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")

    async def idle(self) -> None:
        """Wait until the bot has no running tasks."""
        tasks = self.sandbox.bot.tasks
        await self.sandbox.slack.workspace.until(lambda: not len(tasks), 30.0)


@dataclass(slots=True)
class Visit:
    """A sandbox and the tabs that show it; `errors` are those of the tabs' consoles."""

    sandbox: Sandbox
    profile: BrowserContext
    size: ViewportSize
    theme: Theme
    tabs: list[Page] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def tab(self, user_id: str = "U0ALICE") -> Tab:
        """Open a tab as one of the sandbox's people and wait until the page is drawn."""
        page = await self.profile.new_page()
        self.tabs.append(page)
        self._listen(page)
        tab = Tab(page, self.sandbox)
        await tab.resize(self.size["width"], self.size["height"], self.theme)
        await page.goto(f"{self.sandbox.slack.url}?as={user_id}")
        await page.get_by_test_id(f"be-{user_id}").wait_for()
        return tab

    def _listen(self, page: Page) -> None:
        def on_console(message: ConsoleMessage) -> None:
            # some tests make requests fail
            if message.type == "error" and "Failed to load resource" not in message.text:
                self.errors.append(message.text)

        page.on("console", on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


OpenVisit = Callable[..., AbstractAsyncContextManager[Visit]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profile() -> AsyncIterator[BrowserContext]:
    """One browser for all tests: each sandbox has its own port, and so its own storage."""
    if CHROMIUM is None:
        pytest.skip("the browser tests need Debian's chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(locale="en-US")
        context.set_default_timeout(TIMEOUT_MS)
        # while a page stays open, the next takes half the time: the renderer's process is kept
        await context.new_page()
        yield context
        await browser.close()


@pytest.fixture
def open_visit(profile: BrowserContext, tmp_path: Path) -> OpenVisit:
    """Open a visit with a size and a theme: `async with open_visit(width=380) as visit`."""

    @asynccontextmanager
    async def visit(
        *,
        width: int = 1280,
        height: int = 800,
        theme: Theme = "light",
        timing: Timing = QUICK,
    ) -> AsyncIterator[Visit]:
        async with opened(tmp_path, timing=timing) as sandbox:
            opened_visit = Visit(sandbox, profile, {"width": width, "height": height}, theme)
            try:
                yield opened_visit
            finally:
                for page in opened_visit.tabs:
                    await page.close()
            assert opened_visit.errors == []

    return visit


@pytest_asyncio.fixture(loop_scope="session")
async def visit(open_visit: OpenVisit) -> AsyncIterator[Visit]:
    """A visit at desktop size."""
    async with open_visit() as opened_visit:
        yield opened_visit


@pytest_asyncio.fixture(loop_scope="session")
async def alice(visit: Visit) -> Tab:
    """Alice's tab."""
    return await visit.tab()
