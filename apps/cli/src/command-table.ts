/**
 * The commands of `antipode`, in the order of its help. Only the command that runs is loaded: with all of them, a short
 * one would load an agent and the client of an HSM, and take twice the processor time.
 */
import type { Command } from 'commander';

type Load = (root: Command) => Promise<Command>;

export const COMMANDS: Readonly<Record<string, Load>> = {
  init: async () => (await import('./commands/init.ts')).initCommand(),
  certificate: async () => (await import('./commands/certificates/certificate.ts')).certificateCommand(),
  coordinator: async () => (await import('./commands/run.ts')).coordinatorCommand(),
  agent: async () => (await import('./commands/run.ts')).agentCommand(),
  site: async () => (await import('./commands/joining/site.ts')).siteCommand(),
  partition: async () => (await import('./commands/site/partition.ts')).partitionCommand(),
  peer: async () => (await import('./commands/site/peer.ts')).peerCommand(),
  group: async () => (await import('./commands/operator/group.ts')).groupCommand(),
  status: async () => (await import('./commands/operator/status.ts')).statusCommand(),
  dashboard: async () => (await import('./commands/operator/dashboard.ts')).dashboardCommand(),
  replicate: async () => (await import('./commands/operator/replicate.ts')).replicateCommand(),
  drill: async () => (await import('./commands/operator/drill.ts')).drillCommand(),
  archive: async () => (await import('./commands/operator/archive.ts')).archiveCommand(),
  scrub: async () => (await import('./commands/operator/scrub.ts')).scrubCommand(),
  deleted: async () => (await import('./commands/site/deleted.ts')).deletedCommand(),
  store: async () => (await import('./commands/site/store.ts')).storeCommand(),
  switchover: async () => (await import('./commands/operator/switchover.ts')).switchoverCommand(),
  failover: async () => (await import('./commands/operator/failover.ts')).failoverCommand(),
  divergence: async () => (await import('./commands/operator/divergence.ts')).divergenceCommand(),
  operation: async () => (await import('./commands/operator/operation.ts')).operationCommand(),
  events: async () => (await import('./commands/operator/events.ts')).eventsCommand(),
  approve: async () => (await import('./commands/approvals/approve.ts')).approveCommand(),
  notify: async () => (await import('./commands/operator/notify.ts')).notifyCommand(),
  resolve: async () => (await import('./commands/operator/resolve.ts')).resolveCommand(),
  run: async () => (await import('./commands/operator/launch.ts')).launchCommand(),
  preflight: async () => (await import('./commands/site/preflight.ts')).preflightCommand(),
  luna: async () => (await import('./commands/luna/luna.ts')).lunaCommand(),
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand(),
  explain: async () => (await import('./commands/explain.ts')).explainCommand(),
  'support-bundle': async () => (await import('./commands/support-bundle.ts')).supportBundleCommand(),
  demo: async () => (await import('./commands/demo.ts')).demoCommand(),
  completion: async (root) => (await import('./commands/completion.ts')).completionCommand(() => root),
};

/** Of a command that needs all others. */
const NEEDS_ALL: readonly string[] = ['completion'];

/** The command that these words run, or every command where they run none, or one that shows them all. */
export function loadCommands(root: Command, [word = '']: readonly string[]): Promise<Command[]> {
  const load = Object.hasOwn(COMMANDS, word) && !NEEDS_ALL.includes(word) ? COMMANDS[word] : undefined;
  return Promise.all((load === undefined ? Object.values(COMMANDS) : [load]).map((one) => one(root)));
}
