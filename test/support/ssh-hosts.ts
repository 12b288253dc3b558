/**
 * Machines with systemd and an SSH server each, in a network of their own, and the operator's folder that reaches them:
 * what `infra/terraform` finds at a real installation. Needs root, and Debian's openssh-server.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from './machine.ts';
import { MachineNetwork } from './machine-network.ts';
import { OFFICER_PIN, USER_PIN } from './tokens.ts';

export interface Host {
  readonly machine: Machine;
  readonly address: string;
}

export class SshHosts {
  readonly network = new MachineNetwork();
  readonly #folder: string;
  readonly #base: string | undefined;
  readonly #hosts = new Map<string, Host>();
  readonly #known: string[] = [];

  /** @param folder of the operator; its key and the known hosts go there */
  constructor(folder: string, { base }: { base?: string } = {}) {
    this.#folder = folder;
    this.#base = base;
  }

  get keyFile(): string {
    return join(this.#folder, 'id_ed25519');
  }

  get knownHostsFile(): string {
    return join(this.#folder, 'known_hosts');
  }

  async boot(names: readonly string[]): Promise<void> {
    mkdirSync(this.#folder, { recursive: true });
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'operator', '-f', this.keyFile]);
    await this.network.open();
    // One after the other: four that boot at once are slower together.
    for (const name of names) await this.#add(name);
    writeFileSync(this.knownHostsFile, this.#known.join(''));
  }

  host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  machine(name: string): Machine {
    return this.host(name).machine;
  }

  async close(): Promise<void> {
    for (const { machine } of this.#hosts.values()) await machine.close();
    this.network.close();
  }

  async #add(name: string): Promise<void> {
    const machine = new Machine(this.#base);
    await machine.boot();
    const address = this.network.attach(machine);
    this.#hosts.set(name, { machine, address });
    // Each with keys of its own, of all three kinds as Debian makes them.
    machine.must(`set -e
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -A
printf 'PermitRootLogin prohibit-password\\nUseDNS no\\n' > /etc/ssh/sshd_config.d/test.conf
mkdir -p -m 700 /root/.ssh`);
    machine.must('cat > /root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys', {
      input: execFileSync('ssh-keygen', ['-y', '-f', this.keyFile], { encoding: 'utf8' }),
    });
    machine.must('systemctl start ssh');
    for (const line of machine.must('cat /etc/ssh/ssh_host_*_key.pub').split('\n'))
      this.#known.push(`${address} ${line}\n`);
  }

  /** Tokens that are there before anybody installs Antipode: their owner lets the group of SoftHSM use them. */
  makeTokens(name: string, labels: readonly string[]): void {
    const tokens = '/var/lib/softhsm/tokens';
    this.machine(name).must(`set -e
rm -rf ${tokens}/*
${labels.map((label) => `softhsm2-util --init-token --free --label ${label} --pin ${USER_PIN} --so-pin ${OFFICER_PIN}`).join('\n')}
chgrp -R softhsm ${tokens}
chmod -R g+rwX ${tokens}`);
  }
}
