/** A handle proves nothing: what is to be destroyed is read again, and compared in the call that destroys. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Handle } from '../model/object.ts';
import { SimulatedGroup, type SimulatedMember, type StoredObject } from '../testing/index.ts';
import { asSeen, destroyDoomed, seenAs } from './doomed.ts';
import { examine } from './recognise.ts';

let a: SimulatedMember;
let domainKey: Handle;
let old: StoredObject;
let handle: Handle;

beforeEach(async () => {
  const { group, members } = await SimulatedGroup.make('a');
  [a] = members as [SimulatedMember];
  domainKey = a.keyring.domainKey(group.name, 1).handle;
  old = a.hsm.addSecret('old');
  handle = (await a.provider.inventory()).at(-1)!.handle;
});

/** An object that is to go, as it is seen now. */
async function doomed() {
  const objects = (await a.provider.read([handle])).filter((object) => object !== undefined);
  const examined = await examine(a.provider, { clock: a.clock, domainKey, objects });
  return examined.map((one) => asSeen({ handle: one.object.handle, seen: seenAs(one) }));
}

/** Another key, under the handle of the old one. */
function replace(): void {
  const other = a.hsm.addSecret('other');
  a.hsm.remove(other);
  Object.assign(old, other);
}

const destroy = async (going: Awaited<ReturnType<typeof doomed>>) =>
  destroyDoomed(a.provider, { clock: a.clock, domainKey, doomed: going, checkFence: () => {} });

describe('an object that is to be destroyed', () => {
  it('goes where it is what it was', async () => {
    expect(await destroy(await doomed())).toEqual({ destroyed: [handle], left: [] });
    expect(a.hsm.labelled('old')).toEqual([]);
  });

  it('is left alone, and not hidden, where another one has its handle by then', async () => {
    const going = await doomed();
    replace();
    a.provider.destroy = async (handles) => (handles.length === 0 ? [] : expect.unreachable());
    a.provider.hide = async () => expect.unreachable();
    expect(await destroy(going)).toEqual({ destroyed: [], left: [handle] });
    expect(a.hsm.labelled('other')).toHaveLength(1);
  });

  it('is left alone where another one gets its handle between that look and the call', async () => {
    const going = await doomed();
    const call = a.provider.destroy.bind(a.provider);
    a.provider.destroy = (...given) => {
      replace();
      return call(...given);
    };
    expect(await destroy(going)).toEqual({ destroyed: [], left: [handle] });
    expect(a.hsm.labelled('other')).toHaveLength(1);
  });
});
