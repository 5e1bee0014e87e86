import { randomBytes, timingSafeEqual } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import { restored, retried } from '../../../functions/bookings/operator-changes.ts';
import { repairFinding } from '../ops/audit.ts';
import { changeBooking, releaseUser } from '../ops/changes.ts';
import { findAll } from '../ops/find.ts';
import { listKinds, recordsOf } from '../ops/records.ts';
import type { Target } from '../ops/target.ts';
import { auditPage } from './audit-page.ts';
import { type Html, layout, pageHeaders } from './layout.ts';
import {
  bookingPage,
  doctor,
  findPage,
  listPage,
  overview,
  type Place,
  paymentPage,
  userPage,
} from './pages.ts';
import { icon, styleSheet } from './style.ts';

const changes = { retry: retried, restore: restored };
const isChange = (name: string): name is keyof typeof changes => Object.hasOwn(changes, name);

/**
 * The pages of the console, with the operator's credentials behind them: so it answers only to this machine's own
 * names, and takes no form of another page.
 */
export function consoleApp(target: Target, clock = () => Math.floor(Date.now() / 1000)): Hono {
  const app = new Hono();
  const records = recordsOf(target);
  const formToken = randomBytes(32).toString('base64url');
  const place = (): Place => ({ target, records, now: clock(), formToken });
  /** What became of a form, for the page that follows: by an id, so that no link can make a page say something. */
  const notices = new Map<string, string>();
  const backTo = (c: Context, path: string, said: string) => {
    const notice = randomBytes(8).toString('base64url');
    notices.set(notice, said);
    return c.redirect(`${path}?${new URLSearchParams({ notice })}`, 303);
  };
  const show = async (c: Context, page: Promise<{ title: string; content: Html }>) => {
    const { title, content } = await page;
    const id = c.req.query('notice') ?? '';
    const said = notices.get(id);
    notices.delete(id);
    const notice = said ? html`<section class="notice" role="status">${said}</section>` : '';
    return c.html(layout(target.name, title, html`${notice}${content}`));
  };
  const refuse = (c: Context, status: 403 | 404 | 500, says: string) =>
    c.html(
      layout(target.name, 'Not done', html`<section class="notice refused" role="alert">${says}</section>`),
      status,
    );

  app.use(async (c, next) => {
    // Another site may make its own name lead to this machine.
    if (!/^(localhost|127\.0\.0\.1)(:\d+)?$/.test(c.req.header('host') ?? ''))
      return c.text('This console answers to localhost only.', 403);
    await next();
    for (const [name, value] of Object.entries(pageHeaders)) c.header(name, value);
    return undefined;
  });
  app.onError((error, c) => refuse(c, 500, error.message));
  app.notFound((c) => refuse(c, 404, 'There is no such page.'));

  app.get('/style.css', (c) => c.body(styleSheet, 200, { 'content-type': 'text/css; charset=utf-8' }));
  app.get('/icon.svg', (c) => c.body(icon, 200, { 'content-type': 'image/svg+xml' }));
  app.get('/', (c) => show(c, overview(place())));
  app.get('/audit', (c) => show(c, auditPage(place())));
  app.get('/doctor', (c) => show(c, doctor(place())));
  app.get('/list/:kind', (c) => {
    const kind = listKinds.find((one) => one === c.req.param('kind'));
    return kind ? show(c, listPage(place(), kind)) : refuse(c, 404, 'There is no such list.');
  });
  app.get('/find', async (c) => {
    const text = (c.req.query('text') ?? '').trim().slice(0, 320);
    const found = text === '' ? [] : await findAll(records, text);
    const [only, ...others] = found;
    if (only && others.length === 0) return c.redirect(`/${only.what}/${encodeURIComponent(only.id)}`, 303);
    return show(c, Promise.resolve(findPage(text, found)));
  });
  app.get('/booking/:id', (c) => show(c, bookingPage(place(), c.req.param('id'))));
  app.get('/payment/:id', (c) => show(c, paymentPage(place(), c.req.param('id'))));
  app.get('/user/:id', (c) => {
    const week = c.req.query('week');
    const isDay = week !== undefined && !Number.isNaN(Date.parse(`${week}T12:00:00Z`));
    return show(c, userPage(place(), c.req.param('id'), isDay ? week : undefined));
  });

  app.use('*', async (c, next) => {
    if (c.req.method !== 'POST') return next();
    const origin = c.req.header('origin');
    const sent = Buffer.from(new URLSearchParams(await c.req.text()).get('token') ?? '');
    const expected = Buffer.from(formToken);
    const isOwn = sent.length === expected.length && timingSafeEqual(sent, expected);
    if (!isOwn || origin !== `http://${c.req.header('host')}`)
      return refuse(
        c,
        403,
        'This form is not of this console, or it has been restarted: open the page again.',
      );
    return next();
  });
  app.post('/booking/:id/:change', async (c) => {
    const { id, change } = c.req.param();
    if (!isChange(change)) return refuse(c, 404, 'There is no such change.');
    const said = await changeBooking(place(), id, changes[change]).then(
      () => `${change}: handed over. Reload to see what became of it.`,
      (error: Error) => error.message,
    );
    return backTo(c, `/booking/${encodeURIComponent(id)}`, said);
  });
  app.post('/finding/:id/repair', async (c) => {
    const said = await repairFinding(place(), c.req.param('id')).then(
      ({ says }) => `repair: handed over. Now ${says}.`,
      (error: Error) => error.message,
    );
    return backTo(c, '/audit', said);
  });
  app.post('/user/:id/release', async (c) => {
    const id = c.req.param('id');
    const said = await releaseUser(place(), id).then(
      () => 'release: handed over. All bookings that wait are tried now.',
      (error: Error) => error.message,
    );
    return backTo(c, `/user/${encodeURIComponent(id)}`, said);
  });
  return app;
}
