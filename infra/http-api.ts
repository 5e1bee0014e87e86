import { Names, RemovalPolicy, Validations } from 'aws-cdk-lib';
import { AccessLogFormat } from 'aws-cdk-lib/aws-apigateway';
import { HttpApi, HttpMethod, HttpStage, LogGroupLogDestination } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { publicUrlOf, type StackConfig } from './config.ts';
import { guards, type Operation, operations } from './operations.ts';

/** The HTTP API, throttled and with an access log, without CORS: no browser script calls it. */
export function httpApi(scope: Construct, config: StackConfig): { api: HttpApi; stage: HttpStage } {
  const name = Names.uniqueResourceName(scope, { maxLength: 100 });
  const api = new HttpApi(scope, 'Api', {
    apiName: name,
    createDefaultStage: false,
    // A second address would bypass a firewall in front of the domain.
    disableExecuteApiEndpoint: publicUrlOf(config) !== undefined && !config.keepDefaultEndpoint,
  });
  const accessLogs = new LogGroup(scope, 'AccessLogs', {
    // Under this prefix a group counts against no resource policy of the account, which would be full one day.
    logGroupName: `/aws/vendedlogs/${name}/access`,
    retention: config.logRetentionDays,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const stage = new HttpStage(scope, 'Stage', {
    httpApi: api,
    stageName: '$default',
    autoDeploy: true,
    throttle: { rateLimit: config.throttleRate, burstLimit: config.throttleBurst },
    accessLogSettings: { destination: new LogGroupLogDestination(accessLogs), format: accessLogFormat },
  });
  return { api, stage };
}

/** A route for each operation that the options ask for. No authorizer comes before a function: the guard of the operation says why. */
export function addRoutes(
  api: HttpApi,
  config: StackConfig,
  functions: Record<Operation['function'], IFunction>,
): void {
  const served = operations.filter(({ option }) => option === undefined || config[option]);
  for (const { method, route: path, function: name, guard } of served) {
    const integration = new HttpLambdaIntegration('Function', functions[name]);
    for (const route of api.addRoutes({ path, methods: [HttpMethod[method]], integration })) {
      Validations.of(route).acknowledge({ id: 'AwsSolutions-APIG4', reason: guards[guard] });
    }
  }
}

/**
 * No path, query string or header: link tokens, codes and states travel in the query, signatures and bearer tokens in
 * headers, and paths contain booking ids. The route is enough.
 */
const accessLogFormat = AccessLogFormat.custom(
  JSON.stringify({
    requestId: '$context.requestId',
    time: '$context.requestTimeEpoch',
    ip: '$context.identity.sourceIp',
    route: '$context.routeKey',
    status: '$context.status',
    responseLength: '$context.responseLength',
    latencyMs: '$context.responseLatency',
    integrationLatencyMs: '$context.integrationLatency',
    integrationStatus: '$context.integrationStatus',
    integrationError: '$context.integrationErrorMessage',
    gatewayError: '$context.error.responseType',
  }),
);
