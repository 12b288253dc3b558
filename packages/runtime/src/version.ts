/** The version of all of Antipode; equal to the one in package.json (checked by a test). */
export const VERSION = '0.1.0';
