import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
  type webcrypto,
} from 'node:crypto';

type CryptoKey = webcrypto.CryptoKey;

let isInUse = false;

/**
 * WebCrypto hands its work to other threads, which answer in any order. In a simulation the same work is done at once,
 * by the same library: AES-GCM and HMAC-SHA-256 with raw keys, which is all that our tokens need.
 */
export function useImmediateCrypto(): void {
  if (isInUse) return;
  isInUse = true;
  const keys = new WeakMap<object, KeyObject>();
  const raw = (key: CryptoKey): KeyObject => keys.get(key) as KeyObject;
  const cipherOf = (key: CryptoKey): 'aes-256-gcm' => {
    if (raw(key).symmetricKeySize !== 32) throw new Error('Only A256GCM is simulated.');
    return 'aes-256-gcm';
  };
  type Gcm = { iv: Uint8Array; additionalData: Uint8Array };
  const mac = (key: CryptoKey, data: Uint8Array): Buffer =>
    createHmac('sha256', raw(key)).update(data).digest();

  Object.assign(crypto.subtle, {
    async importKey(
      format: string,
      bytes: Uint8Array,
      algorithm: webcrypto.AlgorithmIdentifier,
      extractable: boolean,
      usages: webcrypto.KeyUsage[],
    ) {
      if (format !== 'raw') throw new Error(`Only raw keys are simulated, not ${format}.`);
      const secret = createSecretKey(bytes);
      const key = secret.toCryptoKey(algorithm, extractable, usages);
      keys.set(key, secret);
      return key;
    },
    async encrypt({ iv, additionalData }: Gcm, key: CryptoKey, text: Uint8Array) {
      const cipher = createCipheriv(cipherOf(key), raw(key), iv).setAAD(additionalData);
      return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    },
    async decrypt({ iv, additionalData }: Gcm, key: CryptoKey, sealed: Uint8Array) {
      const decipher = createDecipheriv(cipherOf(key), raw(key), iv)
        .setAAD(additionalData)
        .setAuthTag(sealed.subarray(-16));
      return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
    },
    sign: async (_: unknown, key: CryptoKey, data: Uint8Array) => mac(key, data),
    verify: async (_: unknown, key: CryptoKey, signature: Uint8Array, data: Uint8Array) => {
      const expected = mac(key, data);
      return expected.length === signature.length && timingSafeEqual(expected, signature);
    },
  });
}
