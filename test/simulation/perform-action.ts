import { bindAccount, unbindAccount } from '../../functions/bookings/payment-accounts.ts';
import { changeConnection, disconnect } from '../../functions/connections/manage-connection.ts';
import { stripe, stripeConnected } from '../../functions/payment-confirmed/stripe/provider.ts';
import { calendarNamed, changeEvent, deleteSecondCalendar, share, switchCalendar } from './owner-actions.ts';
import type { PlayedScenario } from './played-scenario.ts';
import { askBackend, connect, deliver, inTurn, untilDone } from './requests.ts';
import { rotateClientSecret, rotateSigningSecret, rotateTokenKeys } from './rotations.ts';
import { stripeEvent } from './stripe.ts';
import { second, timeouts } from './timeouts.ts';
import { describeAction, type UserAction } from './user-actions.ts';
import type { Deps } from './world.ts';

/** Performs what users, providers and operators do in a scenario. */

export async function perform(played: PlayedScenario, action: UserAction): Promise<void> {
  const { world, truth } = played;
  await world.pause(action.at);
  world.trace(describeAction(action));
  const key = `${action.id} ${action.do}`;
  switch (action.do) {
    case 'pay':
    case 'pay by session':
    case 'pay elsewhere':
    case 'pay to account':
    case 'pay as another user':
    case 'pay for several':
    case 'cancel authorization':
    case 'expire session':
    case 'fail':
    case 'refund':
    case 'refund charge':
    case 'dispute': {
      const from = world.now();
      const twice = world.chance(`twice ${key}`)() < 0.25;
      const body = JSON.stringify(stripeEvent(truth.plan, action));
      const provider = action.payment.startsWith('acct_') ? stripeConnected : stripe;
      await Promise.all([
        deliver(played, `${key}`, provider, body),
        ...(twice ? [world.pause(1500).then(() => deliver(played, `${key} again`, provider, body))] : []),
      ]);
      const about =
        action.do === 'pay for several'
          ? action.bookings.map((booking) => ({ ...action, booking }))
          : [action];
      for (const each of about) {
        truth.delivered.push(each);
        truth.times.set(each, { from, to: world.now() });
      }
      return;
    }
    case 'declare':
    case 'move':
    case 'rename':
    case 'repeat':
    case 'invite':
    case 'cancel':
      return inTurn(played, action.booking, () => askBackend(played, key, action));
    case 'bind':
    case 'unbind': {
      const { user, account } = action;
      const from = world.now();
      const change = (deps: Deps) =>
        action.do === 'bind' ? bindAccount(deps, user, account) : unbindAccount(deps, user, account);
      await untilDone(played, key, 'bookings', timeouts.api, change);
      truth.bindings.push({ ...action, from, to: world.now() });
      return;
    }
    case 'connect':
      return connect(played, action.user, key);
    case 'disconnect':
      return untilDone(played, key, 'connections', timeouts.connections, (deps) =>
        disconnect(deps, action.user),
      ).then(noop);
    case 'choose calendar': {
      const calendarId = calendarNamed(world, truth.plan.accounts[action.user] as string, action.calendar);
      if (calendarId === undefined) return;
      const choose = (deps: Deps) => changeConnection(deps, action.user, { calendarId });
      return untilDone(played, key, 'connections', timeouts.connections, choose).then(noop);
    }
    case 'revoke at Google':
      return world.google.revokeByHand(truth.plan.accounts[action.user] as string);
    case 'delete by hand':
    case 'edit by hand':
    case 'guests respond':
    case 'owner invites':
    case 'move by hand':
      return changeEvent(world, truth, action);
    case 'switch calendar':
      return switchCalendar(world, truth.plan.accounts[action.user] as string, action.to);
    case 'share':
      return share(world, truth.plan.accounts[action.user] as string, action.role);
    case 'delete calendar':
      return deleteSecondCalendar(world, truth, truth.plan.accounts[action.user] as string);
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
        (target) => of[action.of].test(target),
        action.seconds * second,
        action.of === 'rate limit',
      );
    }
  }
}

const noop = (): void => {};
