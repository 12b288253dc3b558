/** Against an SMTP server of our own that speaks TLS, STARTTLS and AUTH, and misbehaves where a test wants it to. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, createServer as createSecureServer, TLSSocket } from 'node:tls';
import { Secret, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type OwnCertificate, ownCertificate } from '../testing/own-certificate.ts';
import { mailReceiver } from './mail-receiver.ts';
import { testMessage } from './message.ts';

const PASSWORD = 'p4ssword of a mailbox';
const MESSAGE = testMessage('mail', { id: 'x', now: '2026-01-01T00:00:00.000Z' });

interface Got {
  readonly commands: string[];
  readonly mails: string[];
  readonly isEncrypted: boolean[];
  login: string;
}

let certificate: OwnCertificate;
beforeAll(async () => {
  certificate = await ownCertificate();
});
const servers: Server[] = [];
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** `refuse` answers instead of the server where it has an answer for a command. */
async function smtpServer({
  isTls = false,
  offersStartTls = true,
  refuse = () => undefined,
}: {
  isTls?: boolean;
  offersStartTls?: boolean;
  refuse?: (command: string) => string | undefined;
} = {}): Promise<{ port: number; got: Got }> {
  const got: Got = { commands: [], mails: [], isEncrypted: [], login: '' };
  const serve = (socket: Socket, isEncrypted: boolean): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    let mail: string | undefined;
    let rest = '';
    const say = (line: string): void => void socket.write(`${line}\r\n`);
    const onData = (part: Buffer): void => {
      rest += part.toString();
      for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 2);
        if (mail !== undefined) {
          if (line !== '.') mail += `${line}\n`;
          else {
            got.mails.push(mail);
            got.isEncrypted.push(isEncrypted);
            mail = undefined;
            say(refuse('.') ?? '250 taken');
          }
          continue;
        }
        got.commands.push(line);
        const own = refuse(line);
        if (own !== undefined) {
          say(own);
          continue;
        }
        const [verb = ''] = line.toUpperCase().split(' ');
        if (verb === 'STARTTLS' && !offersStartTls) {
          say('502 not here');
          continue;
        }
        if (verb === 'EHLO')
          say(isEncrypted ? '250-hello\r\n250 AUTH PLAIN' : offersStartTls ? '250-hello\r\n250 STARTTLS' : '250 hello');
        else if (verb === 'AUTH') {
          got.login = Buffer.from(line.split(' ')[2] ?? '', 'base64').toString();
          say('235 in');
        } else if (verb === 'STARTTLS') {
          say('220 go');
          socket.off('data', onData);
          const secure = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(certificate) });
          serve(secure, true);
          return;
        } else if (verb === 'DATA') {
          mail = '';
          say('354 go on');
        } else say(verb === 'QUIT' ? '221 bye' : '250 fine');
      }
    };
    socket.on('data', onData);
  };
  const greet = (socket: Socket): void => {
    const hello = refuse('');
    if (hello !== '') socket.write(`${hello ?? '220 mail.test'}\r\n`);
  };
  const server = isTls
    ? createSecureServer(certificate, (socket) => {
        serve(socket, true);
        greet(socket);
      })
    : createServer((socket) => {
        serve(socket, false);
        greet(socket);
      });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.2', resolve));
  return { port: (server.address() as AddressInfo).port, got };
}

const receiver = (server: string, { tls = certificate.tls, timeoutMs = 20_000, to = ['night@example.org'] } = {}) =>
  mailReceiver(
    {
      name: 'mail',
      server,
      from: 'antipode@example.org',
      to,
      user: 'antipode',
      password: new Secret(Buffer.from(PASSWORD)),
      timeoutMs,
    },
    { clock: systemClock, tls },
  );
/** An address that the receiver does not take for this machine. It leads here. */
const at = (scheme: string, port: number): string => `${scheme}://127.0.0.2:${port}`;

describe('a mailbox', () => {
  it.each([
    ['smtps', { isTls: true }],
    ['smtp', {}],
  ])('gets the mail over %s, encrypted, after a login', async (scheme, options) => {
    const { port, got } = await smtpServer(options);
    const answer = await receiver(at(scheme, port)).call(MESSAGE);
    expect(answer).toEqual({ isAccepted: true, reason: '', isPartial: false });
    expect(got.isEncrypted).toEqual([true]);
    expect(got.login).toBe(`\0antipode\0${PASSWORD}`);
    expect(got.mails[0]).toMatch(/^Subject: \[antipode\] info: A test\. Nothing is wrong\.$/m);
    expect(got.mails[0]).toMatch(/^Message-ID: <[0-9a-f]{32}@example\.org>$/m);
    expect(got.mails[0]).toContain('What to do: docs/howto/notifications.md');
  });

  it('shows words of others in one line, in the subject and in the text', async () => {
    const { port, got } = await smtpServer({});
    await receiver(at('smtp', port)).call({ ...MESSAGE, summary: 'a\r\nBcc: eve@example.org\u001b[2J' });
    expect(got.mails[0]).not.toMatch(/^Bcc:/m);
    expect(got.mails[0]).not.toContain('\u001b');
  });

  it('gets the same Message-ID when the same message comes again', async () => {
    const { port, got } = await smtpServer({ isTls: true });
    for (let time = 0; time < 2; time += 1) await receiver(at('smtps', port)).call(MESSAGE);
    const ids = got.mails.map((mail) => /^Message-ID: (.*)$/m.exec(mail)?.[1]);
    expect(new Set(ids).size).toBe(1);
  });
});

describe('nothing is sent', () => {
  it('in the clear to a server that offers no STARTTLS', async () => {
    const { port, got } = await smtpServer({ offersStartTls: false });
    await expect(receiver(at('smtp', port)).call(MESSAGE)).rejects.toMatchObject({ code: 'NOTICE_UNDELIVERED' });
    expect(got.mails).toEqual([]);
    expect(got.login).toBe('');
  });

  it.each([
    ['smtps', { isTls: true }],
    ['smtp', {}],
  ])('over %s to a server with a certificate that nobody has issued', async (scheme, options) => {
    const { port, got } = await smtpServer(options);
    await expect(receiver(at(scheme, port), { tls: {} }).call(MESSAGE)).rejects.toMatchObject({
      code: 'NOTICE_UNDELIVERED',
    });
    expect(got.mails).toEqual([]);
    expect(got.login).toBe('');
  });
});

describe('a mail server that', () => {
  it.each([
    [
      'refuses the login',
      (line: string) => (line.startsWith('AUTH') ? `535 no such ${line}` : undefined),
      'refused the login (535)',
    ],
    ['refuses the sender', (line: string) => (line.startsWith('MAIL') ? '550 no' : undefined), 'answered 550'],
    ['is full', (line: string) => (line === '.' ? '452 full' : undefined), 'answered 452'],
    ['knows no recipient', (line: string) => (line.startsWith('RCPT') ? '550 who?' : undefined), 'answered 550'],
    ['speaks something else', (line: string) => (line === '' ? 'SSH-2.0-x' : undefined), 'cannot be used'],
  ])('%s has not accepted the notice, and the message has no password', async (_what, refuse, expected) => {
    const { port } = await smtpServer({ isTls: true, refuse });
    const error = await rejection(receiver(at('smtps', port)).call(MESSAGE));
    expect(error).toMatchObject({ code: 'NOTICE_UNDELIVERED', message: expect.stringContaining(expected) });
    expect(error.message).not.toContain(PASSWORD);
    expect(error.message).not.toContain(Buffer.from(`\0antipode\0${PASSWORD}`).toString('base64'));
  });

  it('says nothing is given up in time', async () => {
    const { port } = await smtpServer({ isTls: true, refuse: (line) => (line === '' ? '' : undefined) });
    await expect(receiver(at('smtps', port), { timeoutMs: 200 }).call(MESSAGE)).rejects.toMatchObject({
      code: 'NOTICE_UNDELIVERED',
    });
  });

  it('refuses one of two recipients has accepted the notice, and says whom it refused', async () => {
    const refuse = (line: string) => (line.includes('gone@') ? '550 who?' : undefined);
    const { port } = await smtpServer({ isTls: true, refuse });
    const to = ['night@example.org', 'gone@example.org'];
    expect(await receiver(at('smtps', port), { to }).call(MESSAGE)).toEqual({
      isAccepted: true,
      reason: 'refused for gone@example.org',
      isPartial: true,
    });
  });
});
