import { Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { Options } from './config.ts';
import { LeadsCalendarGoogle } from './leads-calendar-google.ts';
import { outputs } from './outputs.ts';

type ServiceStackProps = StackProps & { readonly options?: Options; readonly deletionProtection?: boolean };

/** Key of the template's metadata under which the options of a deployed stack are found again. */
export const optionsMetadata = 'LeadsCalendar::Options';

/** A stack with the service and nothing else. */
export class ServiceStack extends Stack {
  constructor(
    scope: Construct,
    id: string,
    { options = {}, deletionProtection = true, ...props }: ServiceStackProps,
  ) {
    super(scope, id, {
      description: 'Puts paid appointments of LeadsCalendar users into their Google Calendar.',
      ...props,
    });
    // CDK leaves the id Default out of logical ids, so tables and keys have the same ones as without the construct.
    const service = new LeadsCalendarGoogle(this, 'Default', { ...options, deletionProtection });
    this.templateOptions.metadata = { [optionsMetadata]: service.options };
    outputs(this, service);
  }
}
