/** A real Prometheus, as a child of the test, that scrapes given addresses and evaluates given rules. */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '@antipode/demo/town';
import { systemClock } from '@antipode/runtime';
import { stringify } from 'yaml';
import { temporaryFolder } from './tokens.ts';

const EVALUATION = '500ms';
/** An answer may take as long, and a busy machine needs more than half of it now and then. */
const SCRAPE = '1s';
const START_MS_MAX = 20_000;
const FIRING = 'ALERTS{alertstate="firing"}';
const CALL = { headers: { connection: 'close' } };

interface Series {
  readonly metric: Readonly<Record<string, string>>;
}

export class Prometheus {
  readonly #folder = temporaryFolder('prometheus');
  readonly #startMs = systemClock.wallMs();
  #child: ChildProcess | undefined;
  #address = '';

  /** @param options.later addresses at which nobody need answer yet */
  static async start({
    targets,
    later = [],
    rules,
  }: {
    targets: readonly string[];
    later?: readonly string[];
    rules: string;
  }): Promise<Prometheus> {
    const made = new Prometheus();
    try {
      await made.#start({ targets, later, rules });
      return made;
    } catch (thrown) {
      await made.close();
      throw thrown;
    }
  }

  async #start({
    targets,
    later,
    rules,
  }: Record<'targets' | 'later', readonly string[]> & { rules: string }): Promise<void> {
    const [config, rulesFile] = [join(this.#folder, 'prometheus.yaml'), join(this.#folder, 'alerts.yaml')];
    writeFileSync(rulesFile, rules);
    writeFileSync(
      config,
      stringify({
        global: { scrape_interval: SCRAPE, scrape_timeout: SCRAPE, evaluation_interval: EVALUATION },
        rule_files: [rulesFile],
        scrape_configs: [{ job_name: 'antipode', static_configs: [{ targets: [...targets, ...later] }] }],
      }),
    );
    this.#address = `127.0.0.1:${await freePort()}`;
    // The kernel ends it with us, whatever happens to us.
    this.#child = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        '--',
        'prometheus',
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(this.#folder, 'data')}`,
        `--web.listen-address=${this.#address}`,
        '--log.level=error',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const endMs = systemClock.monotonicMs() + START_MS_MAX;
    while (systemClock.monotonicMs() < endMs) {
      const isReady = await this.#scrapesAll(targets).catch(() => false);
      if (isReady) return;
      await systemClock.sleep(50);
    }
    throw new Error(`Prometheus has not scraped ${targets.join(', ')} after ${START_MS_MAX} ms`);
  }

  /** It is ready some 5 s before it scrapes anything, and a short story would be over by then. */
  async #scrapesAll(targets: readonly string[]): Promise<boolean> {
    const up = (await this.#ask('query', { query: 'up == 1' })).result;
    return targets.every((target) => up.some(({ metric }) => metric['instance'] === target));
  }

  /** The series that the query has had at any time since this Prometheus started. */
  async everSeen(expr: string, { sinceMs = this.#startMs } = {}): Promise<Series[]> {
    const [start, end] = [sinceMs / 1_000, systemClock.wallMs() / 1_000];
    return (await this.#ask('query_range', { query: expr, start: `${start}`, end: `${end}`, step: '0.5' })).result;
  }

  /** The names of alerts that have fired since then. */
  async fired({ sinceMs = this.#startMs } = {}): Promise<Set<string>> {
    return namesOf(await this.everSeen(FIRING, { sinceMs }));
  }

  /** The names of alerts that fire now. */
  async firing(): Promise<Set<string>> {
    return namesOf((await this.#ask('query', { query: FIRING })).result);
  }

  async #ask(what: string, parameters: Record<string, string>): Promise<{ result: Series[] }> {
    const response = await fetch(`http://${this.#address}/api/v1/${what}?${new URLSearchParams(parameters)}`, CALL);
    const answer = (await response.json()) as { status: string; error?: string; data: { result: Series[] } };
    if (answer.status !== 'success') throw new Error(`${parameters['query']}: ${answer.error}`);
    return answer.data;
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const namesOf = (series: readonly Series[]): Set<string> =>
  new Set(series.map(({ metric }) => metric['alertname'] ?? ''));
