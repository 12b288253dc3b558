export { Module } from '../module.ts';
export { partialCryptoki } from './partial-cryptoki.ts';
