/** The operators whose signatures count, as configurations name them. */
import { z } from 'zod';
import { OPERATOR_KEY_EXPECTED, operatorKeyFingerprint, operatorKeyFrom } from '../approvals/operator-keys.ts';
import { isName, NAME_EXPECTED } from '../convert/names.ts';

const operator = z.strictObject({
  name: z.string().refine(isName, NAME_EXPECTED),
  key: z.string().transform((text, context) => {
    const key = operatorKeyFrom(text);
    if (key !== undefined) return key;
    context.addIssue({ code: 'custom', message: OPERATOR_KEY_EXPECTED });
    return z.NEVER;
  }),
});

/** Operators with their public keys. */
export const operatorsSchema = z
  .array(operator)
  .max(64)
  .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, 'expected names that do not repeat')
  .refine(
    (list) => new Set(list.map(({ key }) => operatorKeyFingerprint(key))).size === list.length,
    'expected a key of its own for each operator',
  );

/** The `revocation` section of every configuration. */
export const revocationSchema = z
  .strictObject({
    /** Operators that must have signed a list, without the one who made it. */
    required: z.number().int().min(1).max(32),
    operators: operatorsSchema,
  })
  .refine(({ required, operators }) => operators.length > required, {
    path: ['operators'],
    message: 'expected at least one operator more than `required`, since the one who makes a list does not count',
  });
