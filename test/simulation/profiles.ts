/** Which faults there are in a scenario, and how often: drawn from the seed. */
import { canHit, type FaultName, faultNames, type Profile, type Target, targets } from './faults.ts';
import { ready } from './readiness.ts';
import { oneOf, type Random, whole } from './scheduler.ts';

const isLate = (name: FaultName): boolean => /applied late/.test(name);

const groups = {
  /** Any but those of `late`. */
  mixed: (name: FaultName) => !isLate(name),
  calm: () => false,
  crashes: (name: FaultName) => /crash|paused|slow/.test(name),
  google: (name: FaultName) => /^\d|lost|timed|answered|malformed|page|client/.test(name),
  aws: (name: FaultName) => /throttled|answer lost|SDK|unprocessed|batch/.test(name),
  /** Requests of crashed and timed-out runs that Google applies later. */
  late: (name: FaultName) => isLate(name) || /crash|paused|timed out|answer lost|^4|throttled/.test(name),
};
/** Which faults there are in a scenario. */
export type ProfileName = keyof typeof groups;
export const profileNames = Object.keys(groups) as ProfileName[];

/** Some faults often, some seldom, some never: what hides one bug shows another. */
export function drawProfile(random: Random, name: ProfileName): Profile {
  return name === 'late' ? drawLateProfile(random) : drawAnyProfile(random, name);
}

/** One write to an event or two are applied late, then Google mostly answers: what is left is for a re-check to find. */
function drawLateProfile(random: Random): Profile {
  const target = oneOf<Target>(random, [
    'events.insert',
    'events.insert',
    'events.delete',
    'events.delete',
    'events.patch',
    'events.get',
  ]);
  const frequent = (fault: FaultName): boolean => isLate(fault) || fault === 'paused';
  const chances = faultNames.filter(groups.late).map((fault) => {
    const level = random();
    const chance = level < 0.7 ? 0 : level < 0.9 ? 0.02 : 0.1;
    return [fault, frequent(fault) && random() < 0.5 ? 0.1 : chance] as const;
  });
  const ofTarget = faultNames.filter((fault) => groups.late(fault) && canHit(fault, target));
  const late = ofTarget.filter(isLate);
  const script = Array.from({ length: whole(random, 2, 5) }, () =>
    oneOf(random, [...ofTarget, ...late, ...late, ...late, ...Array(8).fill('none' as const)]),
  );
  return {
    chances: Object.fromEntries(chances),
    ...(random() < 0.7 ? { script: { target, faults: script } } : {}),
  };
}

function drawAnyProfile(random: Random, name: Exclude<ProfileName, 'late'>): Profile {
  const calm = random() < 0.1;
  const possible = calm ? [] : faultNames.filter(groups[name]);
  const chances = possible.map((fault) => {
    const level = random();
    const chance = level < 0.55 ? 0 : level < 0.8 ? 0.01 : level < 0.95 ? 0.04 : 0.15;
    // These leave a booking failed or a connection broken, which hides what else would happen to it.
    const rare = fault === '403 scope missing' || (fault === '403 forbidden' && !ready.rejections);
    return [fault, rare && level < 0.7 ? 0 : chance];
  });
  const target = oneOf<Target>(random, [
    ...targets,
    ...Array<Target>(6).fill('events.insert'),
    ...Array<Target>(2).fill('events.get'),
    'events.delete',
  ]);
  const ofTarget = possible.filter((fault) => canHit(fault, target));
  // A write with an unknown outcome is what is hardest to get right.
  const withUnknownOutcome = ofTarget.filter((fault) => /^(timed out|crash after|paused)$/.test(fault));
  // And what comes after it, where nothing else is tried.
  const final = ofTarget.filter((fault) =>
    /^(400 data|403 forbidden|403 unknown|404|410|page with any status)$/.test(fault),
  );
  const failing = ofTarget.filter((fault) => fault === '400 data');
  const script = Array.from({ length: whole(random, 2, 4) }, () =>
    oneOf(random, [
      ...ofTarget,
      ...withUnknownOutcome,
      ...withUnknownOutcome,
      ...final,
      ...failing,
      ...failing,
      'none' as const,
    ]),
  );
  return {
    chances: Object.fromEntries(chances),
    ...(random() < 0.4 && ofTarget.length > 0 ? { script: { target, faults: script } } : {}),
  };
}
