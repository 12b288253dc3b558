/**
 * The dashboard of an operator: a server on the operator's own machine, which asks the coordinator with the operator's
 * certificate, keeps one model, and serves it to pages. It opens no door at the coordinator, holds no PIN and no key, and
 * may do what its certificate may do and nothing else.
 */
import type { Client, Identity, OperatorService } from '@antipode/protocol';
import { type Clock, type Closeable, closeAll, type Prng } from '@antipode/runtime';
import { detailRoutes } from './details.ts';
import type { Viewer } from './model/entries.ts';
import { Watch } from './model/watcher.ts';
import { type Approver, Orders } from './ordering.ts';
import { Assets } from './server/assets.ts';
import { type Door, Gate } from './server/gate.ts';
import { DashboardServer } from './server/server.ts';
import { stream } from './server/stream.ts';

export interface DashboardPorts {
  readonly operator: Client<typeof OperatorService>;
  /** Of the certificate that the operator's calls are made with. */
  readonly identity: Identity;
  readonly clock: Clock;
  readonly prng: Prng;
  /** Signs approvals; undefined where the dashboard has no key for that. */
  readonly approver: Approver | undefined;
}

export interface DashboardOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined on loopback. */
  readonly proxy?: { readonly origin: string; readonly secret: string } | undefined;
  /** Whether orders are taken, as far as the certificate allows them. */
  readonly takesOrders: boolean;
  /** Called with the address to open: at first, and whenever the one before was used. */
  readonly tell: (address: string) => void;
}

export class Dashboard implements Closeable {
  readonly #options: DashboardOptions;
  readonly #watch: Watch;
  readonly #server: DashboardServer;
  #gate: Gate | undefined;

  constructor(ports: DashboardPorts, options: DashboardOptions) {
    this.#options = options;
    const watch = new Watch(ports);
    this.#watch = watch;
    const viewer = viewerOf(ports, options);
    const orders = new Orders({ ...ports, viewer });
    this.#server = new DashboardServer({
      gate: () => this.#gate!,
      assets: new Assets(),
      routes: { ...detailRoutes(ports), ...orders.routes },
      stream: (response) => stream(response, { watch, viewer }),
      opened: () => this.#tell(),
    });
  }

  /** @throws ADDRESS_UNAVAILABLE */
  async start(): Promise<void> {
    const { proxy } = this.#options;
    const port = await this.#server.listen(this.#options);
    const door: Door = proxy === undefined ? { kind: 'loopback', port } : { kind: 'proxy', ...proxy };
    this.#gate = new Gate(door);
    this.#watch.start();
    this.#tell();
  }

  close(): Promise<void> {
    return closeAll([this.#server, this.#watch]);
  }

  #tell(): void {
    this.#options.tell(this.#gate!.address);
  }
}

function viewerOf({ identity, approver }: DashboardPorts, { takesOrders }: DashboardOptions): Viewer {
  const { name, role = 'operator' } = identity;
  const whyNot =
    role === 'viewer'
      ? `the certificate of ${name} has role viewer, which only looks`
      : takesOrders
        ? ''
        : 'this dashboard was started to show only';
  return { name, role, mayOrder: whyNot === '', whyNot, approver: approver?.name ?? '' };
}
