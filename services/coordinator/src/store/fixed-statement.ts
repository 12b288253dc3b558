/**
 * Statements that are built and compiled once, for what is asked all the time. To build one takes kysely longer than to
 * send it. The parameters are put in at each call.
 *
 * Only for reads, and for writes that name no group: touched-groups.ts does not see what is written here.
 */
import {
  type Compilable,
  type CompiledQuery,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely';
import type { Schema } from './schema.ts';
import type { Read } from './store.ts';

/** Stands where a value of this name will be. */
class Place {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

const builder = new Kysely<Schema>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/**
 * @param build makes the statement. It gets no values: it may put each of `given` into the statement, and nothing else.
 */
export function fixed<Given extends object, Row>(
  build: (db: Read, given: Given) => Compilable<Row>,
): (db: Read, given: Given) => Promise<QueryResult<Row>> {
  let compiled: CompiledQuery<Row> | undefined;
  return (db, given) => {
    compiled ??= build(builder, places<Given>()).compile();
    const parameters = compiled.parameters.map((parameter) =>
      parameter instanceof Place ? given[parameter.name as keyof Given] : parameter,
    );
    return db.executeQuery({ ...compiled, parameters });
  };
}

const places = <Given extends object>(): Given =>
  new Proxy({} as Given, { get: (_target, name) => new Place(String(name)) });
