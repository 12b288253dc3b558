/** `antipode dashboard`: the operators' page, from this machine. */
import type { DashboardOptions } from '@antipode/dashboard';
import { isName, OperatorService } from '@antipode/protocol';
import {
  ADDRESS_EXPECTED,
  AntipodeError,
  closeAll,
  parseAddress,
  processLog,
  readPinFile,
  runUntilStopped,
  systemClock,
  systemPrng,
} from '@antipode/runtime';
import { type Command, InvalidArgumentError } from 'commander';
import { signWith } from '../../approvals/operator-key.ts';
import { leaderFinder, loadOperatorConfig, openTls, operatorConfigFile } from '../../operator-connection.ts';
import { command, OPERATOR_CONFIG_HELP } from '../../options/options.ts';
import { output } from '../../output.ts';

/** A proxy's secret that is shorter could be guessed. */
const SECRET_LENGTH_MIN = 32;

export interface DashboardCommandOptions {
  readonly config?: string | undefined;
  readonly port: number;
  readonly listen?: string | undefined;
  readonly origin?: string | undefined;
  readonly proxySecretFile?: string | undefined;
  readonly allowOrders?: boolean;
  readonly readOnly?: boolean;
  readonly approveAs?: string | undefined;
  readonly approveKey?: string | undefined;
  readonly approvePinFile?: string | undefined;
}

export function dashboardCommand(): Command {
  return command('dashboard', 'serve a page with the state of everything, on this machine and for its user', [
    'dashboard',
    'dashboard --read-only --port 7480',
    'dashboard --listen 127.0.0.1:7480 --origin https://antipode.example.org --proxy-secret-file proxy.secret',
  ])
    .option('-c, --config <file>', OPERATOR_CONFIG_HELP)
    .option('--port <port>', 'port on loopback; by default any that is free', portFrom, 0)
    .option('--read-only', 'take no orders, although the certificate may give them')
    .option('--approve-as <name>', 'sign approvals from the page under this name; needs --approve-key')
    .option('--approve-key <key>', 'the key for that: a PKCS#8 file, or a PKCS#11 URI')
    .option('--approve-pin-file <file>', 'file with the PIN of its token, or the passphrase of the key file')
    .option('--listen <host:port>', 'serve a proxy that has a login of its own; takes no orders by default')
    .option('--origin <url>', 'with --listen: the address at which people see the page')
    .option('--proxy-secret-file <file>', 'with --listen: file with a secret that the proxy sends along, mode 0600')
    .option('--allow-orders', 'with --listen: take orders from everybody whom the proxy lets in')
    .addHelpText(
      'after',
      `
It prints an address with a token. Open it in a browser of this machine. The token works once: then the next address is
printed, for another browser. The page does what the certificate in operator.yaml may do. A viewer only looks.

Behind a proxy, everybody who is let in acts with this one certificate. Give it role viewer if people only look.
The proxy must send the secret in the header Antipode-Proxy, and take that header from nobody else.`,
    )
    .action(async (options) => runDashboard(options));
}

async function runDashboard(options: DashboardCommandOptions): Promise<void> {
  const place = placeOf(options);
  const out = output({});
  const config = loadOperatorConfig(operatorConfigFile(options.config));
  const tls = openTls(config);
  const finder = leaderFinder(config, tls);
  const { Dashboard } = await import('@antipode/dashboard');
  const dashboard = new Dashboard(
    {
      operator: finder.client(OperatorService),
      identity: tls.identity,
      clock: systemClock,
      prng: systemPrng,
      approver: approverOf(options),
    },
    {
      ...place,
      tell: (address) => out.data({ address }, () => address),
    },
  );
  const service = { start: () => dashboard.start(), close: () => closeAll([dashboard, finder]) };
  await runUntilStopped(service, { log: processLog() });
}

/** @throws USAGE for a name without a key, a key without a name, and both behind a proxy */
export function approverOf({ approveAs, approveKey, approvePinFile, listen }: DashboardCommandOptions) {
  if (approveAs === undefined && approveKey === undefined && approvePinFile === undefined) return undefined;
  if (approveAs === undefined || approveKey === undefined)
    throw usage('approve-as', 'expected --approve-as and --approve-key together');
  if (!isName(approveAs)) throw usage('approve-as', `--approve-as must be a name of an operator, found "${approveAs}"`);
  // A signature is of one person. Behind a proxy are many.
  if (listen !== undefined) throw usage('approve-as', '--approve-as and --listen exclude each other');
  const key = { key: approveKey, pinFile: approvePinFile };
  return { name: approveAs, sign: (bytes: Uint8Array) => signWith(key, bytes) };
}

type Place = Pick<DashboardOptions, 'host' | 'port' | 'proxy' | 'takesOrders'>;

/** Where it serves, and whether it takes orders. @throws USAGE */
export function placeOf(options: DashboardCommandOptions): Place {
  const { listen, origin, proxySecretFile, allowOrders = false, readOnly = false, port } = options;
  if (allowOrders && readOnly) throw usage('allow-orders', '--allow-orders and --read-only exclude each other');
  if (listen === undefined) {
    for (const [name, value] of Object.entries({ origin, 'proxy-secret-file': proxySecretFile }))
      if (value !== undefined) throw usage(name, `--${name} is for --listen`);
    if (allowOrders)
      throw usage('allow-orders', '--allow-orders is for --listen: on loopback, orders are taken anyway');
    return { host: '127.0.0.1', port, takesOrders: !readOnly };
  }
  if (port !== 0) throw usage('port', '--port and --listen exclude each other');
  const address = parseAddress(listen);
  if (address === undefined) throw usage('listen', `--listen: ${ADDRESS_EXPECTED}, found "${listen}"`);
  if (origin === undefined || proxySecretFile === undefined)
    throw usage(
      'listen',
      '--listen needs --origin and --proxy-secret-file: the page is for a proxy with its own login',
    );
  const secret = readPinFile(proxySecretFile).expose((bytes) => bytes.toString('utf8'));
  if (secret.length < SECRET_LENGTH_MIN)
    throw usage('proxy-secret-file', `the secret of the proxy has fewer than ${SECRET_LENGTH_MIN} characters`);
  return { ...address, proxy: { origin: originFrom(origin), secret }, takesOrders: allowOrders };
}

/** `https://antipode.example.org`, without a path: browsers send it so. */
function originFrom(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.origin !== text.replace(/\/$/, ''))
    throw usage('origin', `--origin must be like https://antipode.example.org, found "${text}"`);
  return url.origin;
}

function portFrom(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidArgumentError('It must be a port, or 0.');
  return port;
}

const usage = (field: string, message: string): AntipodeError =>
  new AntipodeError('USAGE', message, { details: { field }, hint: 'Run `antipode dashboard --help`.' });
