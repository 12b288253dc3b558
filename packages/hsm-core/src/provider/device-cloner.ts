/**
 * Native movement from device to device (ADR 0058). The client of the destination sees the partition of the source too,
 * and asks the devices to copy single objects. No blob exists.
 *
 * There are two ports. {@link DeviceCloner} is the part of one kind of device, and runs in the worker process.
 * A provider offers {@link NativeSealer.cloneNative}, which compares everything that has arrived with the manifest.
 */
import type { ObjectClass } from '../model/object.ts';
import type { NativeObject } from './native-cloner.ts';
import type { Refusal } from './restorer.ts';

/** A name under which a device lists objects. Several objects can have it. */
export interface ListedName {
  readonly objectClass: ObjectClass;
  /** CKA_LABEL as text, without the blanks around it. */
  readonly label: string;
}

/** The result of one move from one source. The caller finds by itself what has arrived. */
export interface DeviceMove {
  /** In the order of the objects: why the devices did not copy it, as far as they say. Undefined if they may have. */
  readonly refusals: readonly (Refusal | undefined)[];
  /**
   * Names of objects that this very call has surely brought: the device showed that each is a copy of an object of the
   * source, and was not there before. One name for each object. Nothing else may be destroyed.
   */
  readonly brought: readonly ListedName[];
}

/** One kind of device. Nothing of it overlaps: the worker calls one after the other. */
export interface DeviceCloner {
  readonly shape: 'device';
  readonly kind: string;
  /** See {@link CloningInUse.domain}. {@link CLONING_DOMAIN_BYTES} bytes, the same at every call. */
  domain(): Promise<Uint8Array>;
  /** Serial numbers of the partitions that it can copy from, in the order in which they are to be asked. */
  readonly sources: readonly string[];
  /**
   * Copies objects of a source into this partition, found there by class and label: each whole or not at all, whatever
   * interrupts it. It may bring more than one of a name. Overwrites and destroys nothing. A repeat makes no second copy of
   * an object of which this partition shows that it has it.
   *
   * A source that cannot be reached now is a refusal of each object (NATIVE_SOURCE_UNREACHED). So are a login that the
   * device or the record of logins refuses, and another cloning domain (CLONING_DOMAIN_OTHER).
   *
   * The signal ends a copy within a second, whatever the devices do. Nothing is known of it then, and nothing counts as
   * brought.
   */
  clone(source: string, objects: readonly NativeObject[], signal?: AbortSignal): Promise<DeviceMove>;
}

export const nameOf = ({ objectClass, attributes: { label } }: Pick<NativeObject, 'objectClass' | 'attributes'>) => ({
  objectClass,
  label: Buffer.from(label ?? new Uint8Array())
    .toString('utf8')
    .trim(),
});

/** One word for a name, to compare and to count by. */
export const nameKey = ({ objectClass, label }: { objectClass: string; label: string }): string =>
  `${objectClass} ${label}`;

/** A serial number as the standard fills it up, and as the tool of a vendor prints it. */
export const bareSerial = (serial: string): string => serial.trim().replace(/^0+(?=.)/, '');
