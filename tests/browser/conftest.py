"""People at the sandbox's page: a real browser, and the real bot between its simulators."""

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
    "--process-per-site",  # a process for each tab takes longer to start than most tests to run
)
QUICK = Timing(sweep_every_s=0.1, execution_s=2.0, working_after_s=0.3)
PATIENCE_MS = 10_000
Theme = Literal["light", "dark"]
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab of the browser, as somebody on the sandbox's page."""

    page: Page
    sandbox: Sandbox

    @property
    def card(self) -> Locator:
        """The newest message of the channel."""
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
        """A customer in the list of those in Fusebill."""
        return self.page.locator(f"[data-customer-id='{customer_id}']")

    def button(self, name: str) -> Locator:
        """A button of the newest message."""
        return self.card.get_by_role("button", name=name)

    async def say(self, line: str) -> None:
        """Type a line into the message box and send it."""
        await self.page.locator("#composer-text").fill(line)
        await self.page.keyboard.press("Enter")

    async def ask(self, line: str = "/unlatch 2554529 moved") -> None:
        """Ask for a card and wait until it can be decided."""
        cards = self.page.locator("#messages").get_by_test_id("message")
        before = await cards.count()
        await self.say(line)
        await expect(cards).to_have_count(before + 1)
        await self.at_rest()

    async def press(self, name: str) -> None:
        """Press a button of the newest message with the mouse."""
        await self.button(name).click()

    async def at_rest(self) -> None:
        """Wait until the bot has nothing more to do."""
        tasks = self.sandbox.bot.tasks
        await self.sandbox.slack.workspace.until(lambda: not len(tasks), 30.0)


@dataclass(slots=True)
class Visit:
    """A sandbox, and the tabs that look at it; `wrong` is what their scripts complained of."""

    sandbox: Sandbox
    profile: BrowserContext
    size: ViewportSize
    theme: Theme
    tabs: list[Page] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def tab(self, user_id: str = "U0ALICE") -> Tab:
        """Open a tab as one of the sandbox's people and wait for the channel."""
        page = await self.profile.new_page()
        self.tabs.append(page)
        self._listen(page)
        await page.set_viewport_size(self.size)
        await page.emulate_media(color_scheme=self.theme, reduced_motion="reduce")
        await page.goto(f"{self.sandbox.slack.url}?as={user_id}")
        await page.get_by_test_id(f"be-{user_id}").wait_for()
        return Tab(page, self.sandbox)

    def _listen(self, page: Page) -> None:
        def heard(message: ConsoleMessage) -> None:
            # that a request failed is what some tests are about
            if message.type == "error" and "Failed to load resource" not in message.text:
                self.wrong.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


OpenVisit = Callable[..., AbstractAsyncContextManager[Visit]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profile() -> AsyncIterator[BrowserContext]:
    """One browser for all: each sandbox has a port, and so an origin and a storage, of its own."""
    if CHROMIUM is None:
        pytest.skip("the browser tests need Debian's chromium, and there is none here")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(locale="en-US")
        context.set_default_timeout(PATIENCE_MS)
        yield context
        await browser.close()


@pytest.fixture
def open_visit(profile: BrowserContext, tmp_path: Path) -> OpenVisit:
    """Open a visit of one's own: `async with open_visit(width=380) as visit`."""

    @asynccontextmanager
    async def visit(
        *, width: int = 1280, height: int = 800, theme: Theme = "light"
    ) -> AsyncIterator[Visit]:
        async with opened(tmp_path, timing=QUICK) as sandbox:
            looking = Visit(sandbox, profile, {"width": width, "height": height}, theme)
            try:
                yield looking
            finally:
                for page in looking.tabs:
                    await page.close()
            assert looking.wrong == []

    return visit


@pytest_asyncio.fixture(loop_scope="session")
async def visit(open_visit: OpenVisit) -> AsyncIterator[Visit]:
    """A visit at a desk."""
    async with open_visit() as looking:
        yield looking


@pytest_asyncio.fixture(loop_scope="session")
async def alice(visit: Visit) -> Tab:
    """Alice's tab."""
    return await visit.tab()
