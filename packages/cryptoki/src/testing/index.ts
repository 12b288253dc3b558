export { partialCryptoki } from './partial-cryptoki.ts';
