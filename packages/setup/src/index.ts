/** The folders that a place starts from: certificates and configuration. `antipode init` makes them. */
export {
  makeApplicationFolder,
  makeAuthority,
  makeCoordinatorFolder,
  makeOperatorFolder,
  makeSiteFolder,
  type PartitionDraft,
} from './folders.ts';
