/** `antipode site token`: what an operator gives to a machine that is to become a site. */
import { readFileSync } from 'node:fs';
import {
  certificatesIn,
  isName,
  type JoinPlace,
  SECRET_BYTES,
  type SiteToken,
  secretDigest,
  siteTokenText,
} from '@antipode/protocol';
import { AntipodeError, parseAddress, requireNoFile, sha256Hex, systemPrng, writeNewFile } from '@antipode/runtime';
import { type Command, InvalidArgumentError } from 'commander';
import { loadOperatorConfig, openTls, operatorConfigFile, withOperator } from '../../operator-connection.ts';
import { collect, command, operatorCommand, parseJoin, readCommand } from '../../options/options.ts';
import { output, table } from '../../output.ts';

const SECRET_MODE = 0o600;
const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

function ttl(text: string): number {
  const [, amount = '', unit = ''] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const ms = Number(amount) * (UNITS[unit] ?? 0);
  if (ms < UNITS['m']! || ms > 24 * UNITS['h']!)
    throw new InvalidArgumentError('It must be a time from 1m to 24h, such as 30m or 1h.');
  return ms;
}

function createCommand(): Command {
  return operatorCommand('create', 'make a token with which one machine joins as one site', [
    'site token create b --out b.token',
    'site token create b --ttl 30m',
  ])
    .argument('<site>', 'name of the site that the machine becomes')
    .option('--ttl <time>', 'for so long it can be used, from 1m to 24h', ttl, UNITS['h'])
    .option('--out <file>', 'write the token there, with mode 0600, and not to standard output')
    .option(
      '--join <id@host:port>',
      'where machines reach the door of a coordinator, if not at the host of its address; repeatable',
      collect,
      [],
    )
    .addHelpText(
      'after',
      '\n`antipode site token b` is the same. The token makes its holder the site: bring it by a way that nobody else reads,\nand never as an argument of a command. The first machine uses it up. An operator with role security makes it.',
    )
    .action(async (site: string, options) => {
      const { config, ttl: ttlMs, out, join } = options;
      if (!isName(site))
        throw new AntipodeError('USAGE', `"${site}" must be lower-case letters, digits and dashes`, {
          details: { field: 'site' },
        });
      if (out !== undefined) requireNoFile(out);
      const places = new Map((join as string[]).map(parseJoin).map(({ id, address }) => [id, address]));
      const own = loadOperatorConfig(operatorConfigFile(config));
      const { trustDomain } = openTls(own).identity;
      const secret = systemPrng.bytes(SECRET_BYTES);
      const answer = await withOperator(config, (operator) =>
        operator.createSiteToken({ site, secretDigest: secretDigest(secret), ttlMs: BigInt(ttlMs) }),
      );
      const { id, expiresMs } = answer.token!;
      const text = siteTokenText({
        id,
        trustDomain,
        site,
        secret,
        expiresMs: Number(expiresMs),
        // Those that this operator trusts, whatever the coordinator says.
        authorities: certificatesIn(readFileSync(own.tls.ca, 'utf8')).map(({ raw }) => sha256Hex(raw)),
        coordinators: own.coordinators.map(
          (one): JoinPlace => ({
            ...one,
            join: places.get(one.id) ?? withPort(one.address, answer.joinPort),
          }),
        ),
      });
      if (out !== undefined) writeNewFile(out, `${text}\n`, { mode: SECRET_MODE });
      const expires = new Date(Number(expiresMs)).toISOString();
      const said = output(options);
      said.note(`Token ${id} makes one machine to site ${site}, until ${expires}. Treat it like a PIN.`);
      if (answer.isKnownSite)
        said.note(`Warning: site ${site} has reported already. A second machine of this name would take its place.`);
      if (!answer.hasIssuer)
        said.note('This coordinator holds no issuer: the authority signs the request that the machine makes.');
      const shown = { id, site, expires, ...(out === undefined ? { token: text } : { file: out }) };
      said.data(shown, () => (out === undefined ? text : `wrote ${out}`), { forShell: true });
    });
}

function withPort(address: string, port: number): string {
  const { host = '' } = parseAddress(address) ?? {};
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function listCommand(): Command {
  return readCommand('list', 'list tokens of the last weeks: who made them, and what became of them', [
    'site token list',
  ]).action(async (options) => {
    const { tokens } = await withOperator(options.config, (operator) => operator.listSiteTokens({}), {
      timeoutMs: options.timeout * 1_000,
    });
    output(options).data(tokens, () => tokenTable(tokens));
  });
}

const time = (ms: bigint): string =>
  ms === 0n ? '-' : new Date(Number(ms)).toISOString().slice(0, 19).replace('T', ' ');

function tokenTable(tokens: readonly SiteToken[]): string {
  if (tokens.length === 0) return 'none';
  return table(
    ['TOKEN', 'SITE', 'STATE', 'MADE BY', 'ENDS (UTC)', 'USED (UTC)', 'FROM'],
    tokens.map((one) => [
      one.id,
      one.site,
      one.state,
      one.createdBy,
      time(one.expiresMs),
      time(one.usedMs),
      one.usedFrom || '-',
    ]),
  );
}

function revokeCommand(): Command {
  return operatorCommand('revoke', 'end a token; a certificate that it has brought already stays', [
    'site token revoke 0123456789abcdef',
  ])
    .argument('<token>', 'its id, as `site token list` shows it')
    .action(async (id: string, options) => {
      const { token } = await withOperator(options.config, (operator) => operator.revokeSiteToken({ id }));
      const said = output(options);
      if (token !== undefined && token.usedMs !== 0n)
        said.note(`Site ${token.site} has got its certificate with it already, from ${token.usedFrom}.`);
      said.data(token, () => `token ${id} of site ${token?.site} is revoked`);
    });
}

export function tokenCommand(): Command {
  return command('token', 'tokens with which machines join: make, list, revoke')
    .addCommand(createCommand(), { isDefault: true })
    .addCommand(listCommand())
    .addCommand(revokeCommand());
}
