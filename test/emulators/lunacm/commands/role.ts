/** `role login`, `role logout`, `role show`, `role list`, `role init` and `role changepw`. */
import { hashOf, type RoleName, type RoleRecord } from '../devices.ts';
import { Refused, type Run } from '../run.ts';

const NAMES: Readonly<Record<RoleName, string>> = {
  co: 'Crypto Officer',
  cu: 'Crypto User',
  po: 'Partition SO',
  so: 'HSM SO',
};

function roleOption(run: Run, options: ReadonlyMap<string, string>): { name: RoleName; role: RoleRecord } {
  const name = options.get('name');
  if (name !== 'co' && name !== 'cu' && name !== 'po' && name !== 'so') throw new Refused('badArguments');
  return { name, role: run.current().roles[name] };
}

export function roleShow(run: Run, options: ReadonlyMap<string, string>): void {
  const { name, role } = roleOption(run, options);
  run.say('roleHeading', { role: NAMES[name] });
  run.output.line();
  if (!role.isInitialised) {
    run.say('notInitialised');
    return;
  }
  run.say(role.isPed ? 'authenticationPed' : 'authenticationPassword');
  run.say('attempts', { attempts: role.shows === 'left' ? role.limit - role.failures : role.limit });
  run.say('changeAttempts');
  if (role.isActivated) run.say('activated');
  if (role.failures >= role.limit) run.say('lockedOut');
}

export async function roleLogin(run: Run, options: ReadonlyMap<string, string>): Promise<void> {
  const partition = run.current();
  const { name, role } = roleOption(run, options);
  if (partition.isInTransport) {
    // An officer who tries to log in on the way changes what the device shows at its arrival.
    run.change(partition.serial, (one) => {
      one.transportFailures = (one.transportFailures ?? 0) + 1;
    });
    throw new Refused('transportMode');
  }
  if (!role.isInitialised) throw new Refused('notInitialised');
  if (run.loggedIn.has(partition.serial)) throw new Refused('alreadyLoggedIn');
  if (role.isPed && !role.isActivated) return atPed(run, partition.serial, name);
  const isAsked = !options.has('password');
  let password = options.get('password') ?? (await askedFor(run, NAMES[name]));
  if (role.isActivated) run.say('pedActivated');
  if (role.failures >= role.limit) throw new Refused('roleLocked');
  let isRight = tried(run, partition.serial, name, password);
  while (!isRight && isAsked && run.settings.asksAgain) {
    password = await askedFor(run, NAMES[name]);
    isRight = tried(run, partition.serial, name, password);
  }
  if (!isRight) throw new Refused('wrongPassword');
  if (role.isExpired) throw new Refused('passwordExpired');
  if (name === 'co') run.objects.unlock?.(partition.serial, password);
  run.loggedIn.set(partition.serial, name);
}

function tried(run: Run, serial: string, name: RoleName, password: string): boolean {
  let isRight = false;
  run.change(serial, (partition) => {
    const role = partition.roles[name];
    isRight = hashOf(password) === role.hash;
    role.failures = isRight ? 0 : role.failures + 1;
    if (isRight || name !== 'so' || role.failures < role.limit) return;
    // The officer's last wrong password erases the device.
    partition.isZeroized = true;
    run.objects.clear(serial);
    partition.archives.splice(0);
  });
  return isRight;
}

async function atPed(run: Run, serial: string, name: RoleName): Promise<void> {
  run.say('pedWait');
  run.output.flush();
  await run.terminal.sleep(run.settings.pedMs);
  run.loggedIn.set(serial, name);
}

async function askedFor(run: Run, role: string, prompt = 'passwordPrompt'): Promise<string> {
  run.output.raw(run.dialect.text(prompt, { role }));
  run.output.flush();
  const { terminal, settings } = run;
  const answer = settings.passwordPrompts === 'terminal' ? await terminal.readSecret() : await terminal.readLine();
  run.output.line('*'.repeat(answer?.length ?? 0));
  if (answer === undefined) throw new Refused('badArguments');
  return answer;
}

/** The roles of a partition of applications, or of the administration of a device. */
export function roleList(run: Run): void {
  const names = run.current().kind === 'vault' ? (['so'] as const) : (['po', 'co', 'cu'] as const);
  for (const name of names) run.say('roleLine', { role: NAMES[name] });
}

/** The officer of a partition makes the crypto officer, who makes the crypto user. */
export async function roleInit(run: Run, options: ReadonlyMap<string, string>): Promise<void> {
  const partition = run.current();
  const { name } = roleOption(run, options);
  if (name !== 'co' && name !== 'cu') throw new Refused('badArguments');
  run.requireLogin(partition, name === 'co' ? 'po' : 'co');
  const password = options.get('password') ?? (await askedFor(run, NAMES[name]));
  run.change(partition.serial, ({ roles }) => {
    Object.assign(roles[name], { hash: hashOf(password), isInitialised: true, isExpired: true, failures: 0 });
  });
}

export async function roleChangePassword(run: Run, options: ReadonlyMap<string, string>): Promise<void> {
  const partition = run.current();
  const { name, role } = roleOption(run, options);
  if (!role.isInitialised) throw new Refused('notInitialised');
  if (role.failures >= role.limit) throw new Refused('roleLocked');
  const old = await askedFor(run, NAMES[name], 'oldPasswordPrompt');
  if (!tried(run, partition.serial, name, old)) throw new Refused('wrongPassword');
  const password = await askedFor(run, NAMES[name], 'newPasswordPrompt');
  if (password !== (await askedFor(run, NAMES[name], 'newPasswordPrompt'))) throw new Refused('badArguments');
  run.change(partition.serial, ({ roles }) => {
    Object.assign(roles[name], { hash: hashOf(password), isExpired: false });
  });
}

export function roleLogout(run: Run): void {
  run.loggedIn.delete(run.current().serial);
}
