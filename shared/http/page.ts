import { createHash } from 'node:crypto';
import { type HttpResponse, html } from './http.ts';

/** The page at the end of a step, in plain text, which is escaped here. */
type Page = {
  status: number;
  title: string;
  /** Paragraphs. */
  text: string[];
  /** Whether the step succeeded: decides the sign above the title. */
  isSuccess: boolean;
  /** The next step. */
  action?: { label: string; href: string };
  /** Stable error code for support. */
  code?: string;
};

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** `text` for use in HTML content or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}

const style = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #586474; --paper: #eef2f8; --glow: #f9fbfd; --card: #fff; --line: #e1e6ee; --good: #11704a; --good-tint: #dcf3e7; --bad: #944016; --bad-tint: #fdeadf }
@media (prefers-color-scheme: dark) { :root { --ink: #e9edf3; --soft: #a5b0bf; --paper: #10141a; --glow: #171d26; --card: #1c232d; --line: #313a47; --good: #6bd6a4; --good-tint: #17392c; --bad: #f5aa85; --bad-tint: #44291c } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; min-height: 100dvh; display: grid; place-items: center; padding: 1rem; background: var(--paper) radial-gradient(60rem 40rem at 50% 0, var(--glow), transparent); color: var(--ink); font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; text-align: center }
main { width: 100%; max-width: 30rem; padding: 2.75rem clamp(1.25rem, 7vw, 3rem) 2rem; border: 1px solid var(--line); border-radius: 1.5rem; background: var(--card); box-shadow: 0 1px 2px #1c243010, 0 1.5rem 3rem -1rem #1c243026 }
svg { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round }
.sign { width: 4.5rem; height: 4.5rem; padding: 1.05rem; border-radius: 50% }
.good { color: var(--good); background: var(--good-tint) }
.bad { color: var(--bad); background: var(--bad-tint) }
h1 { margin: 1.25rem 0 .75rem; font-size: 1.5rem; font-weight: 650; line-height: 1.2; letter-spacing: -.015em; text-wrap: balance; overflow-wrap: anywhere }
p { margin: 0 0 .75rem; text-wrap: balance; overflow-wrap: anywhere }
.action { display: inline-block; margin-top: .75rem; padding: .7rem 1.6rem; border-radius: 2rem; background: var(--ink); color: var(--card); font-weight: 600; text-decoration: none }
.action:hover, .action:focus-visible { outline: 2px solid var(--ink); outline-offset: 3px }
footer { margin-top: 2rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .875rem }
footer p { margin: 0 }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .95em }
`;

// Only the style block is allowed, by its hash: the page cannot load, run or send anything, or be framed.
const styleHash = createHash('sha256').update(style).digest('base64');
const contentSecurityPolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

const signs = {
  good: '<path d="M4.5 12.8l5 5L19.5 7"/>',
  bad: '<path d="M12 4v10M12 19.5v.01"/>',
};

/** The page as HTML without scripts, for light and dark, at any size. */
export function page({ status, title, text, isSuccess, action, code }: Page): HttpResponse {
  const tone = isSuccess ? 'good' : 'bad';
  const body = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${escapeHtml(title)} · LeadsCalendar</title>
<style>${style}</style>
</head>
<body>
<main>
<svg class="sign ${tone}" viewBox="0 0 24 24" aria-hidden="true">${signs[tone]}</svg>
<h1>${escapeHtml(title)}</h1>
${text.map((paragraph) => `<p>${escapeHtml(paragraph)}</p>`).join('\n')}
${action ? `<a class="action" href="${escapeHtml(action.href)}">${escapeHtml(action.label)}</a>` : ''}
<footer>
<p>LeadsCalendar and Google Calendar</p>
${code ? `<p>Code for support: <code>${escapeHtml(code)}</code></p>` : ''}
</footer>
</main>
</body>
</html>
`;
  return html(status, body, contentSecurityPolicy);
}
