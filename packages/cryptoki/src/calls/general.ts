/** General purpose functions (PKCS#11 3.0 base, section 5.4). */
import type { Module } from '../module.ts';
import { initializeArguments } from '../structures.ts';

export const general = (module: Module) => ({
  /**
   * `parameters` reach the module in the place that the standard reserves, where NSS looks for them. A module that
   * wants no parameters refuses them.
   */
  initialize(parameters: string | undefined): void {
    module.call('C_Initialize', initializeArguments(parameters));
  },

  finalize(): void {
    module.tryCall('C_Finalize', null);
  },
});
