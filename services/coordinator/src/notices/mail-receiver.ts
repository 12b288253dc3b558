/**
 * A receiver that is a mailbox, by SMTP. The connection is encrypted, and the certificate of the server is checked:
 * `smtps` from its beginning, `smtp` by STARTTLS, without which nothing is sent. Only a server on this machine is spoken
 * to in the clear. A message has the same Message-ID each time that it is sent.
 */
import { createHash } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { type Clock, printable, type Secret, within } from '@antipode/runtime';
import { isThisMachine } from '../config.ts';
import { EXTERNAL_TLS } from '../external-url.ts';
import {
  type Answer,
  type Hook,
  type HookMessage,
  hookFailed,
  type NoticeItem,
  type NoticeMessage,
} from '../hooks/hook.ts';

export interface MailOptions {
  readonly name: string;
  /** `smtps://host:port` or `smtp://host:port` */
  readonly server: string;
  readonly from: string;
  readonly to: readonly string[];
  readonly user?: string | undefined;
  readonly password?: Secret | undefined;
  readonly timeoutMs: number;
}

const PORTS: Readonly<Record<string, number>> = { 'smtps:': 465, 'smtp:': 587 };

/** `tls` adds to the options of the connection, such as an authority of one's own in a test. */
export function mailReceiver(
  options: MailOptions,
  { clock, tls = {} }: { clock: Clock; tls?: ConnectionOptions },
): Hook {
  const { name, server, timeoutMs } = options;
  return {
    name,
    call: async (message) => {
      try {
        return await within({ clock, timeoutMs, what: `receiver ${name}` }, (signal) =>
          send(options, message, { tls, signal }),
        );
      } catch (thrown) {
        const { code, message: text, responseCode } = thrown as Error & { code?: string; responseCode?: number };
        if (code === 'NOTICE_UNDELIVERED') throw thrown;
        const why = code === 'TIMED_OUT' ? `did not answer within ${timeoutMs} ms` : reasonOf(code, responseCode, text);
        throw hookFailed(name, `mail server ${server} ${why}`, 'receiver');
      }
    },
  };
}

async function send(
  { name, server, from, to, user, password, timeoutMs }: MailOptions,
  message: HookMessage,
  { tls, signal }: { tls: ConnectionOptions; signal: AbortSignal },
): Promise<Answer> {
  if (message.type !== 'notices') throw hookFailed(name, 'a mailbox takes notices only', 'receiver');
  // Loaded where somebody sends mail, and nowhere else.
  const { createTransport } = await import('nodemailer');
  const { protocol, hostname, port } = new URL(server);
  const host = hostname.replace(/^\[|\]$/g, '');
  const isPlain = protocol === 'smtp:' && isThisMachine(hostname);
  const transport = createTransport({
    host,
    port: Number(port) || PORTS[protocol]!,
    secure: protocol === 'smtps:',
    requireTLS: !isPlain,
    ignoreTLS: isPlain,
    tls: { ...EXTERNAL_TLS, rejectUnauthorized: true, ...tls },
    ...(user === undefined || password === undefined
      ? {}
      : { auth: { user, pass: password.expose((bytes) => bytes.toString('utf8')) } }),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  try {
    const { accepted, rejected } = await transport.sendMail({ ...mailOf(message, { from, to }), signal });
    if (accepted.length === 0) throw hookFailed(name, `mail server ${server} took no recipient`, 'receiver');
    // The others have it. To send it again would not help the one that is refused.
    const reason = rejected.length === 0 ? '' : `refused for ${rejected.map((one) => printable(one)).join(', ')}`;
    return { isAccepted: true, reason, isPartial: rejected.length > 0 };
  } finally {
    transport.close();
  }
}

export function mailOf(message: NoticeMessage, { from, to }: { from: string; to: readonly string[] }) {
  const id = createHash('sha256').update(message.id).digest('hex').slice(0, 32);
  const domain = /@([A-Za-z0-9.-]+)>?$/.exec(from)?.[1] ?? 'localhost';
  return {
    from,
    to: [...to],
    messageId: `<${id}@${domain}>`,
    subject: `[antipode] ${message.severity}: ${printable(message.summary)}`,
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Antipode-Id': message.id },
    text: mailText(message),
  };
}

function mailText({ summary, notices, others }: NoticeMessage): string {
  const more = others === 0 ? [] : [`${others} more: \`antipode notify list\` has them.`];
  return [printable(summary), ...notices.map(itemText), ...more, 'Run `antipode status` to see the state of now.'].join(
    '\n\n',
  );
}

function itemText({ state, severity, text, since, until, runbook }: NoticeItem): string {
  const head = state === 'resolved' ? 'RESOLVED' : severity.toUpperCase();
  const times = until === '' ? `Since ${since}` : `From ${since} to ${until}`;
  return `${head}  ${printable(text)}\n  ${times}\n  What to do: ${runbook}`;
}

/** Without what the server was sent: the answer of a server can repeat it. */
function reasonOf(code: string | undefined, responseCode: number | undefined, text: string): string {
  if (code === 'EAUTH') return `refused the login${responseCode === undefined ? '' : ` (${responseCode})`}`;
  if (responseCode !== undefined) return `answered ${responseCode}`;
  return `cannot be used (${code ?? ''}${code === undefined ? '' : ', '}${printable(text).slice(0, 200)})`;
}
