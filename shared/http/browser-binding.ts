import { randomBytes } from 'node:crypto';

/**
 * The cookie that binds an attempt to connect to the browser that started it. With the `__Host-` prefix no other host
 * can set it; plain HTTP, used only on the developer's machine, does not allow that prefix.
 */
type BrowserBinding = {
  /** The value that this browser sent, if its form is valid. */
  read(cookies: string[] | undefined): string | undefined;
  /** A Set-Cookie header for `value`. `maxAge` in seconds. */
  cookie(value: string, maxAge: number): string;
};

export function browserBinding(publicUrl: string): BrowserBinding {
  const secure = publicUrl.startsWith('https:');
  const name = secure ? '__Host-leadscalendar-connect' : 'leadscalendar-connect';
  return {
    read(cookies = []) {
      const value = cookies.find((cookie) => cookie.startsWith(`${name}=`))?.slice(name.length + 1);
      return value && /^[\w-]{43}$/.test(value) ? value : undefined;
    },
    cookie(value, maxAge) {
      return `${name}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
    },
  };
}

/** 256 random bits as 43 characters that are safe in URLs, cookies and as a PKCE verifier. */
export function randomSecret(): string {
  return randomBytes(32).toString('base64url');
}
