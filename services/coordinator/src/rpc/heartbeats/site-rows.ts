/** The row of each site, which is written when a heartbeat shows that it has changed. */
import type { DescribeResponse } from '@antipode/protocol';
import { type Store, toJson } from '../../store/store.ts';
import { recordSite } from '../../store/tables/sites/sites.ts';

export class SiteRows {
  /** As each row was last written, and under which leadership. */
  readonly #written = new Map<string, string>();
  readonly #partitions = new Map<string, { readonly of: DescribeResponse['partitions']; readonly text: string }>();

  /** @throws DATABASE_UNAVAILABLE, LEADERSHIP_LOST */
  async write(
    state: DescribeResponse,
    address: string,
    {
      leaderEpoch,
      store,
      returns,
    }: {
      leaderEpoch: bigint;
      store: Pick<Store, 'write'>;
      /** How often operators have taken the site back: its row was deleted each time before. */
      returns: number;
    },
  ): Promise<void> {
    const { site, version } = state;
    const row = { name: site, address, version, partitions: this.#partitionsIn(state) };
    const inForce = `${leaderEpoch} ${returns} ${address} ${version} ${row.partitions}`;
    if (this.#written.get(site) === inForce) return;
    await store.write(leaderEpoch, (trx) => recordSite(trx, row));
    this.#written.set(site, inForce);
  }

  /** The partitions as they are written. Mostly they are the list of the heartbeat before. */
  #partitionsIn({ site, partitions }: DescribeResponse): string {
    const known = this.#partitions.get(site);
    if (known?.of === partitions) return known.text;
    const text = toJson(partitions.map(({ serial, module, tokenLabel }) => ({ serial, module, tokenLabel })));
    this.#partitions.set(site, { of: partitions, text });
    return text;
  }
}
