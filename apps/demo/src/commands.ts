/** The commands of the command line that the demonstration uses. It is handed them, since the command line starts it. */
import type { Client, GroupState, Operation, OperatorService } from '@antipode/protocol';

export type Operator = Client<typeof OperatorService>;

/** The commands of an operator, as the antipode command runs them. */
export interface DemoCommands {
  withOperator<T>(configFile: string, work: (operator: Operator) => Promise<T>): Promise<T>;
  /** Waits until an operation has ended well. */
  follow(operator: Operator, operationId: string, options: { timeoutMs: number }): Promise<Operation>;
  replicateOnce(
    operator: Operator,
    group: string,
    options: { timeoutMs: number; sites: readonly string[] },
  ): Promise<{ readonly generation: number; readonly state: GroupState }>;
  /** A PostgreSQL for several coordinators, in this folder. */
  serveDatabase(folder: string): Promise<{ readonly databaseUrl: string; close(): Promise<void> }>;
  /** A time span as people read it. */
  duration(ms: number | bigint | undefined): string;
}
