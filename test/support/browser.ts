/** Debian's Chromium, driven by playwright-core. It downloads nothing. */
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const PROGRAMS = ['/usr/bin/chromium', '/usr/lib/chromium/chromium'];

/** @throws if Chromium is not installed: a page that no browser has seen is not tested */
export function startBrowser(): Promise<Browser> {
  const executablePath = PROGRAMS.find((path) => existsSync(path));
  if (executablePath === undefined)
    throw new Error(
      `THE DASHBOARD WAS NOT TESTED: found no Chromium at ${PROGRAMS.join(' or ')}. Run \`npm test\`, which installs the Debian package, or: apt-get install --no-install-recommends chromium`,
    );
  // Its own sandbox does not work for root, and it opens nothing but our page. /dev/shm is small in some containers.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', '--lang=en'] });
}

/** A page, and everything about it that must never happen. */
export class WatchedPage {
  readonly page: Page;
  /** Violations of the content security policy, errors of scripts, and everything that was written to the console. */
  readonly faults: string[] = [];
  /** Everything that it asked for. */
  readonly requests: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on('console', (message) => {
      // A test asks for some errors.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        this.faults.push(message.text());
    });
    page.on('pageerror', (error) => this.faults.push(error.message));
    page.on('request', (request) => this.requests.push(request.url()));
  }

  static async open(context: BrowserContext): Promise<WatchedPage> {
    const watched = new WatchedPage(await context.newPage());
    await watched.page.exposeFunction('antipodeViolation', (text: string) => watched.faults.push(text));
    await watched.page.addInitScript(
      `addEventListener('securitypolicyviolation', (event) => antipodeViolation(\`CSP: \${event.violatedDirective} \${event.blockedURI} \${event.sample}\`))`,
    );
    return watched;
  }

  /** How many pixels of it are beyond its window. */
  overflow(): Promise<number> {
    return this.page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
  }
}
