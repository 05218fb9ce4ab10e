"""Chromium without a window, for tests of pages: opened on a file, with what it writes to its console."""
import shutil
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--window-size=1280,1000")


@contextmanager
def chromium(folder):
    """A driver of a fresh browser, whose profile is in `folder`."""
    chrome, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chrome is None or driver is None or find_spec("selenium") is None:
        pytest.skip("Chromium, its driver (Debian: chromium-driver) or selenium is not installed")
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(600)  # a busy machine is no failure
    try:
        yield browser
    finally:
        browser.quit()


def console(browser):
    """What went wrong, by the browser's console."""
    return [entry["message"] for entry in browser.get_log("browser")]


def screen(browser, width, height, dark=False):
    """Give the page a screen of this size and this colour scheme."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
