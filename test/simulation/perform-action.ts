import { changeConnection, disconnect } from '../../functions/connections/manage-connection.ts';
import { calendarNamed, changeEvent, deleteSecondCalendar, share, switchCalendar } from './by-hand.ts';
import { type Deed, tell } from './deeds.ts';
import type { Life } from './played-scenario.ts';
import { askBackend, connect, deliver, inTurn, untilDone } from './requests.ts';
import { rotateClientSecret, rotateSigningSecret, rotateTokenKeys } from './rotations.ts';
import { stripeEvent } from './stripe.ts';
import { second, timeouts } from './timeouts.ts';
import type { Deps } from './world.ts';

/** Performs what users, providers and operators do in a scenario. */

export async function perform(life: Life, deed: Deed): Promise<void> {
  const { world, truth } = life;
  await world.pause(deed.at);
  world.tell(tell(deed));
  const key = `${deed.id} ${deed.do}`;
  switch (deed.do) {
    case 'pay':
    case 'pay by session':
    case 'pay elsewhere':
    case 'pay as another user':
    case 'cancel authorization':
    case 'expire session':
    case 'fail':
    case 'refund':
    case 'refund charge':
    case 'dispute': {
      const from = world.now();
      const twice = world.chance(`twice ${key}`)() < 0.25;
      const body = JSON.stringify(stripeEvent(truth.plan, deed));
      await Promise.all([
        deliver(life, `${key}`, body),
        ...(twice ? [world.pause(1500).then(() => deliver(life, `${key} again`, body))] : []),
      ]);
      truth.delivered.push(deed);
      truth.times.set(deed, { from, to: world.now() });
      return;
    }
    case 'declare':
    case 'move':
    case 'rename':
    case 'repeat':
    case 'invite':
    case 'cancel':
      return inTurn(life, deed.booking, () => askBackend(life, key, deed));
    case 'connect':
      return connect(life, deed.user, key);
    case 'disconnect':
      return untilDone(life, key, 'connections', timeouts.connections, (deps) =>
        disconnect(deps, deed.user),
      ).then(noop);
    case 'choose calendar': {
      const calendarId = calendarNamed(world, truth.plan.accounts[deed.user] as string, deed.calendar);
      if (calendarId === undefined) return;
      const choose = (deps: Deps) => changeConnection(deps, deed.user, { calendarId });
      return untilDone(life, key, 'connections', timeouts.connections, choose).then(noop);
    }
    case 'revoke at Google':
      return world.google.revokeByHand(truth.plan.accounts[deed.user] as string);
    case 'delete by hand':
    case 'edit by hand':
    case 'guests respond':
    case 'owner invites':
    case 'move by hand':
      return changeEvent(world, truth, deed);
    case 'switch calendar':
      return switchCalendar(world, truth.plan.accounts[deed.user] as string, deed.to);
    case 'share':
      return share(world, truth.plan.accounts[deed.user] as string, deed.role);
    case 'delete calendar':
      return deleteSecondCalendar(world, truth, truth.plan.accounts[deed.user] as string);
    case 'rotate token keys':
      return rotateTokenKeys(world, key);
    case 'rotate signing secret':
      return rotateSigningSecret(world, key);
    case 'rotate client secret':
      return rotateClientSecret(world, key);
    case 'redrive': {
      if (world.queue.redrive() > 0) world.queue.onSend();
      return;
    }
    case 'outage': {
      const of = {
        Google: /^(events|freebusy|calendarList|token|revoke)/,
        'rate limit': /^(events|freebusy|calendarList)/,
        tables: /^(table|batch|index)/,
        queue: /^queue/,
        bus: /^bus/,
      };
      return world.beginOutage(
        (target) => of[deed.of].test(target),
        deed.seconds * second,
        deed.of === 'rate limit',
      );
    }
  }
}

const noop = (): void => {};
