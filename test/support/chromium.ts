/** A real browser for tests: the Chromium of this machine. */
import { existsSync } from 'node:fs';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';

const commonPaths = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const executablePath = process.env.CHROMIUM_PATH ?? commonPaths.find((path) => existsSync(path));
const missing = !executablePath || !existsSync(executablePath);
const searchedPaths = `There is no Chromium at ${executablePath ?? commonPaths.join(', ')}. Install it (Debian: apt install chromium), or set CHROMIUM_PATH to where it is.`;

/** Whether tests in Chromium are skipped: if it is missing, except in CI, where that is an error. */
export const withoutChromium = missing && !process.env.CI;
if (withoutChromium) console.warn(`Tests in the browser are skipped. ${searchedPaths}`);

/** A headless Chromium. The caller closes it. */
export async function launchChromium(): Promise<Browser> {
  if (missing) throw new Error(searchedPaths);
  return chromium.launch({ executablePath });
}

/** Accessibility problems that axe finds in a page: rule and element of each. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate('axe.run()')) as Pick<axe.AxeResults, 'violations'>;
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
}
