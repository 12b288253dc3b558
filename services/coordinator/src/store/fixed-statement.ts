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

/** Longer lists are rare, and there would be a statement for each length. */
const LIST_MAX = 32;

/** The same for a list: one statement for each of its lengths. */
export function fixedList<Row>(
  build: (db: Read, list: readonly string[]) => Compilable<Row>,
): (db: Read, list: readonly string[]) => Promise<QueryResult<Row>> {
  const ofLength = new Map<number, (db: Read, given: readonly string[]) => Promise<QueryResult<Row>>>();
  return (db, list) => {
    const { length } = list;
    if (length > LIST_MAX) return db.executeQuery(build(db, list));
    const known =
      ofLength.get(length) ??
      fixed<readonly string[], Row>((of, given) =>
        build(
          of,
          Array.from({ length }, (_, at) => given[at] as string),
        ),
      );
    ofLength.set(length, known);
    return known(db, list);
  };
}

const places = <Given extends object>(): Given =>
  new Proxy({} as Given, { get: (_target, name) => new Place(String(name)) });
