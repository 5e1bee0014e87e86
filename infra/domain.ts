import { ApiMapping, DomainName, type HttpApi, type IHttpStage } from 'aws-cdk-lib/aws-apigatewayv2';
import { Certificate, CertificateValidation } from 'aws-cdk-lib/aws-certificatemanager';
import { AaaaRecord, ARecord, HostedZone, RecordTarget } from 'aws-cdk-lib/aws-route53';
import { ApiGatewayv2DomainProperties } from 'aws-cdk-lib/aws-route53-targets';
import { Construct } from 'constructs';
import type { StackConfig } from './config.ts';

export interface Domain {
  readonly name: string;
  /** What a CNAME or alias record of the domain points to. */
  readonly target: string;
  /** Whether the stack has made the records; otherwise you do, where the zone is. */
  readonly hasRecords: boolean;
}

/** Maps `domainName` to the API, with a certificate and records where the zone is Route 53's. */
export function mapDomain(
  scope: Construct,
  { domainName, hostedZoneId, hostedZoneName, certificateArn }: StackConfig,
  api: HttpApi,
  stage: IHttpStage,
): Domain | undefined {
  if (domainName === undefined) return undefined;
  const own = new Construct(scope, 'Domain');
  const zone =
    hostedZoneId === undefined
      ? undefined
      : HostedZone.fromHostedZoneAttributes(own, 'Zone', {
          hostedZoneId,
          zoneName: hostedZoneName ?? domainName,
        });
  const certificate =
    certificateArn === undefined
      ? new Certificate(own, 'Certificate', { domainName, validation: CertificateValidation.fromDns(zone) })
      : Certificate.fromCertificateArn(own, 'Certificate', certificateArn);
  const domain = new DomainName(own, 'Name', { domainName, certificate });
  new ApiMapping(own, 'Mapping', { api, domainName: domain, stage });
  if (zone) {
    const properties = new ApiGatewayv2DomainProperties(
      domain.regionalDomainName,
      domain.regionalHostedZoneId,
    );
    const record = { zone, recordName: domainName, target: RecordTarget.fromAlias(properties) };
    new ARecord(own, 'Ipv4', record);
    new AaaaRecord(own, 'Ipv6', record);
  }
  return { name: domainName, target: domain.regionalDomainName, hasRecords: zone !== undefined };
}
