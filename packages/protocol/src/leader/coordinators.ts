/** The coordinators that a configuration names. */

/** One coordinator of a configuration. */
export interface CoordinatorAddress {
  /** The name in its certificate. */
  readonly id: string;
  /** host:port */
  readonly address: string;
}

/** As a configuration names them: one, or a list. */
export interface ConfiguredCoordinators {
  readonly coordinator?: CoordinatorAddress | undefined;
  readonly coordinators?: readonly CoordinatorAddress[] | undefined;
}

/** The list of a configuration, or what is wrong with it. */
export function coordinatorsFrom({
  coordinator,
  coordinators,
}: ConfiguredCoordinators): { readonly list: readonly CoordinatorAddress[] } | { readonly fault: string } {
  if ((coordinator === undefined) === (coordinators === undefined))
    return {
      fault: 'expected either `coordinators`, a list with id and address of each, or `coordinator`, a single one',
    };
  const list = coordinators ?? (coordinator === undefined ? [] : [coordinator]);
  if (new Set(list.map(({ id }) => id)).size < list.length) return { fault: 'expected ids that do not repeat' };
  if (new Set(list.map(({ address }) => address)).size < list.length)
    return { fault: 'expected addresses that do not repeat' };
  return { list };
}

/** For messages: `main at 10.0.0.5:7400, south at 10.0.1.5:7400`. */
export const namesOfCoordinators = (coordinators: readonly CoordinatorAddress[]): string =>
  coordinators.map(({ id, address }) => `${id} at ${address}`).join(', ');
